#include "devices/virtio/balloon.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "devices/virtio/spec.h"

namespace godwit::devices::virtio {
namespace {

// 5.5.2. Drivers that leave out the numbers of queues they do not use, as Linux did until 6.11,
// have the reporting queue further in front.
constexpr uint16_t kInflateQueue = 0;
constexpr uint16_t kDeflateQueue = 1;
constexpr uint16_t kStatisticsQueue = 2;
// 5.5.3.
constexpr uint64_t kStatisticsFeature = feature(1);
constexpr uint64_t kDeflateOnOom = feature(2);
constexpr uint64_t kReporting = feature(5);
// 5.5.4.
constexpr uint32_t kTargetOffset = 0;
constexpr uint32_t kActualOffset = 4;
// 5.5.6.4: u16 tag, u64 value.
constexpr size_t kStatisticBytes = 10;
constexpr size_t kMostStatistics = 64;
constexpr uint16_t kFreeTag = 4;
constexpr uint16_t kAvailableTag = 6;

// A pause waits for the round that is under way.
constexpr uint64_t kPagesInARound = 4096;

// Copies the readable bytes of `chain`, as far as they fit; how many.
size_t copy_out(const Chain& chain, std::span<std::byte> to) {
  size_t copied = 0;
  for (const Buffer& buffer : chain.readable) {
    const size_t n = std::min(to.size() - copied, buffer.bytes.size());
    std::copy_n(buffer.bytes.begin(), n, to.begin() + static_cast<ptrdiff_t>(copied));
    copied += n;
  }
  return copied;
}

}  // namespace

Balloon::Balloon() : wake_(make_eventfd()) {}

uint16_t Balloon::device_id() const {
  return kBalloon;
}

uint64_t Balloon::features() const {
  return kStatisticsFeature | kDeflateOnOom | kReporting;
}

void Balloon::set_target(uint32_t pages) {
  target_.store(pages);
  tell_target_.store(true);
  ring_eventfd(wake_.get());
}

BalloonStatistics Balloon::statistics() {
  wants_statistics_.store(true);
  ring_eventfd(wake_.get());
  const std::lock_guard lock(statistics_mutex_);
  return statistics_;
}

void Balloon::read_config(uint32_t offset, std::span<std::byte> data) const {
  const uint64_t both = uint64_t{target_.load()} << (8 * kTargetOffset) |
                        uint64_t{actual_.load()} << (8 * kActualOffset);
  for (size_t i = 0; i < data.size(); ++i) {
    const uint64_t at = uint64_t{offset} + i;
    data[i] = static_cast<std::byte>(at < 8 ? both >> (8 * at) : 0);
  }
}

void Balloon::write_config(uint32_t offset, std::span<const std::byte> data) {
  if (offset != kActualOffset || data.size() != 4) return;
  uint32_t value;
  std::memcpy(&value, data.data(), sizeof value);
  actual_.store(value);
}

Balloon::Role Balloon::role_of(uint16_t queue) const {
  if (queue == kInflateQueue) return Role::kInflate;
  if (queue == kDeflateQueue) return Role::kDeflate;
  if (queue == kStatisticsQueue && (features_ & kStatisticsFeature) != 0) return Role::kStatistics;
  return Role::kReport;
}

void Balloon::start(Transport& transport, uint64_t features, unsigned thread) {
  transport_ = &transport;
  features_ = features;
  loaded_ = false;
  unfinished_.fill(false);
  transport.thread(thread).watch(wake_.get(), [this] {
    drain_eventfd(wake_.get());
    if (resumed_) woken();
  });
}

void Balloon::stop(unsigned thread) {
  if (transport_ != nullptr) transport_->thread(thread).unwatch(wake_.get());
  transport_ = nullptr;
  if (!loaded_) actual_.store(0);
  const std::lock_guard lock(statistics_mutex_);
  statistics_ = {};
}

void Balloon::resume(unsigned) {
  resumed_ = true;
  if (transport_ != nullptr) woken();
}

void Balloon::woken() {
  if (tell_target_.exchange(false)) transport_->config_changed();
  for (size_t q = 0; q < unfinished_.size(); ++q) {
    if (std::exchange(unfinished_[q], false)) notified(static_cast<uint16_t>(q));
  }
  if (wants_statistics_.exchange(false) && role_of(kStatisticsQueue) == Role::kStatistics)
    ask_statistics(kStatisticsQueue);
}

void Balloon::notified(uint16_t index) {
  if (transport_ == nullptr) return;
  const Role role = role_of(index);
  if (role == Role::kStatistics) return read_statistics(index);
  Queue& queue = transport_->queue(index);
  uint64_t pages = 0;
  do {
    queue.disable_notifications();
    for (;;) {
      if (pages >= kPagesInARound) {
        unfinished_[index] = true;
        ring_eventfd(wake_.get());
        return transport_->flush(index);
      }
      const Queue::Pop popped = queue.pop(chain_);
      if (popped == Queue::Pop::kBroken) return transport_->broken(queue.error());
      if (popped == Queue::Pop::kEmpty) break;
      const auto done = take(role);
      if (!done)
        return transport_->broken(
            fmt::format("the balloon is given pages that cannot be: {} bytes of numbers, at most "
                        "{} of pages in RAM may be",
                        chain_.readable_bytes, kMostGiven));
      pages += *done;
      queue.push(chain_, 0);
    }
    transport_->flush(index);
  } while (queue.enable_notifications());
}

std::optional<uint64_t> Balloon::take(Role role) {
  if (role == Role::kInflate) return inflate();
  if (role == Role::kReport && (features_ & kReporting) != 0) return take_report();
  return 1;
}

// 5.5.6.1: numbers of pages of 4 KiB.
std::optional<uint64_t> Balloon::inflate() {
  const uint64_t count = chain_.readable_bytes / sizeof(uint32_t);
  if (count > kMostGiven) return {};
  given_.resize(count);
  copy_out(chain_, std::as_writable_bytes(std::span(given_)));
  std::sort(given_.begin(), given_.end());
  for (size_t i = 0; i < given_.size();) {
    const uint64_t first = given_[i];
    uint64_t end = first;
    while (i < given_.size() && given_[i] <= end) end = given_[i++] + uint64_t{1};
    if (!discard(Gpa{first << kPageShift}, ByteCount{(end - first) << kPageShift})) return {};
  }
  return count + 1;
}

// 5.5.6.6: the buffers are the pages.
uint64_t Balloon::take_report() {
  uint64_t bytes = 0;
  for (const Buffer& buffer : chain_.writable) {
    const uint64_t size = std::min<uint64_t>(buffer.bytes.size(), kMostReported - bytes);
    if (size == 0) break;
    discard(buffer.gpa, ByteCount{size});
    bytes += size;
  }
  return (bytes >> kPageShift) + 1;
}

// False when it is not in RAM. A host that refuses only costs memory.
bool Balloon::discard(Gpa gpa, ByteCount size) {
  const auto done = transport_->memory().discard(gpa, size);
  if (done) return true;
  if (done.error().code == Errc::kInvalidArgument) return false;
  if (!std::exchange(complained_, true))
    spdlog::warn("virtio-balloon: {}; what the guest gives stays with it", done.error().message);
  return true;
}

// The driver's one buffer stays in the queue until newer numbers are wanted.
void Balloon::read_statistics(uint16_t index) {
  Queue& queue = transport_->queue(index);
  const Queue::Pop popped = queue.pop(chain_);
  if (popped == Queue::Pop::kBroken) return transport_->broken(queue.error());
  if (popped == Queue::Pop::kEmpty) return;
  queue.unpop();
  std::array<std::byte, kMostStatistics * kStatisticBytes> raw;
  const size_t bytes = copy_out(chain_, raw);
  const std::span<const std::byte> whole(raw.data(), bytes / kStatisticBytes * kStatisticBytes);
  ByteReader in(whole, "statistics");
  BalloonStatistics fresh;
  while (in.remaining() != 0) {
    const uint16_t tag = in.u16();
    const ByteCount value{in.u64()};
    if (tag == kFreeTag) fresh.free = value;
    if (tag == kAvailableTag) fresh.available = value;
  }
  const std::lock_guard lock(statistics_mutex_);
  statistics_ = fresh;
}

// 5.5.6.3: the driver fills the buffer anew when it gets it back.
void Balloon::ask_statistics(uint16_t index) {
  Queue& queue = transport_->queue(index);
  if (!queue.started()) return;
  const Queue::Pop popped = queue.pop(chain_);
  if (popped == Queue::Pop::kBroken) return transport_->broken(queue.error());
  if (popped == Queue::Pop::kEmpty) return;
  queue.push(chain_, 0);
  transport_->flush(index);
  if (queue.enable_notifications()) read_statistics(index);
}

void Balloon::save(ByteWriter& out) const {
  out.u32(target_.load());
  out.u32(actual_.load());
}

Result<> Balloon::load(ByteReader& in, uint16_t) {
  const uint32_t target = in.u32();
  const uint32_t actual = in.u32();
  GODWIT_TRY(in.finish());
  target_.store(target);
  actual_.store(actual);
  loaded_ = true;
  return {};
}

}  // namespace godwit::devices::virtio
