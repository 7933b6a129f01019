#include "devices/virtio/balloon.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "devices/virtio/buffers.h"
#include "devices/virtio/spec.h"

namespace godwit::devices::virtio {
namespace {

constexpr uint16_t kInflateQueue = 0;
constexpr uint16_t kDeflateQueue = 1;
constexpr uint16_t kStatisticsQueue = 2;
// 5.5.3.
constexpr uint64_t kStatisticsFeature = feature(1);
constexpr uint64_t kDeflateOnOom = feature(2);
constexpr uint64_t kFreePageHint = feature(3);
constexpr uint64_t kPagePoison = feature(4);
constexpr uint64_t kReporting = feature(5);
// 5.5.4.
constexpr uint32_t kTargetOffset = 0;
constexpr uint32_t kActualOffset = 4;
constexpr uint32_t kCommandOffset = 8;
constexpr uint32_t kPoisonOffset = 12;
// 5.5.6.4: u16 tag, u64 value.
constexpr size_t kStatisticBytes = 10;
constexpr size_t kMostStatistics = 64;
constexpr uint16_t kFreeTag = 4;
constexpr uint16_t kAvailableTag = 6;

// A pause waits for the round that is under way.
constexpr uint64_t kPagesInARound = 4096;

}  // namespace

Balloon::Balloon(const BalloonConfig& config)
    : hints_offered_(config.free_page_hint.value_or(false)),
      wake_(make_eventfd()),
      hints_([this] { config_is_new(); }) {}

uint16_t Balloon::device_id() const {
  return kBalloon;
}

std::string Balloon::traits() const {
  return std::string(hints_offered_ ? kBalloonHintTrait : "");
}

uint64_t Balloon::features() const {
  const uint64_t always = kStatisticsFeature | kDeflateOnOom | kReporting;
  return hints_offered_ ? always | kFreePageHint | kPagePoison : always;
}

// Linux hints a free block of 4 MiB in each request and keeps asking its allocator while the queue
// is full.
std::vector<uint16_t> Balloon::queue_sizes() const {
  return {128, 128, 8, static_cast<uint16_t>(hints_offered_ ? 256 : 32), 32};
}

void Balloon::config_is_new() {
  tell_config_.store(true);
  ring_eventfd(wake_.get());
}

void Balloon::set_target(uint32_t pages) {
  target_.store(pages);
  config_is_new();
}

BalloonStatistics Balloon::statistics() {
  wants_statistics_.store(true);
  ring_eventfd(wake_.get());
  const std::lock_guard lock(statistics_mutex_);
  return statistics_;
}

void Balloon::read_config(uint32_t offset, std::span<std::byte> data) const {
  const uint32_t fields[] = {target_.load(), actual_.load(), hints_.command(), poison_.load()};
  static_assert(kTargetOffset == 0 && kActualOffset == 4 && kCommandOffset == 8 &&
                kPoisonOffset == 12);
  const auto bytes = std::as_bytes(std::span(fields));
  for (size_t i = 0; i < data.size(); ++i) {
    const uint64_t at = uint64_t{offset} + i;
    data[i] = at < bytes.size() ? bytes[at] : std::byte{0};
  }
}

void Balloon::write_config(uint32_t offset, std::span<const std::byte> data) {
  if (data.size() != 4) return;
  uint32_t value;
  std::memcpy(&value, data.data(), sizeof value);
  if (offset == kActualOffset) actual_.store(value);
  if (offset == kPoisonOffset && hints_offered_) poison_.store(value);
}

bool Balloon::keeps_poison() const {
  return (features_.load() & kPagePoison) != 0 && poison_.load() != 0;
}

// 5.5.2 numbers the queues of all features. Drivers that leave out the numbers of those they do not
// use, as Linux did until 6.11, have the later ones further in front. So a queue that is there for
// a feature that is not says how this driver counts.
void Balloon::assign_roles() {
  constexpr std::array<std::pair<Role, uint64_t>, 3> kOptional{
      {{Role::kStatistics, kStatisticsFeature},
       {Role::kHint, kFreePageHint},
       {Role::kReport, kReporting}}};
  roles_.fill(Role::kNone);
  roles_[kInflateQueue] = Role::kInflate;
  roles_[kDeflateQueue] = Role::kDeflate;
  bool dense = false;
  uint16_t index = kStatisticsQueue;
  for (const auto& [role, feature] : kOptional) {
    const bool used = (features_.load() & feature) != 0;
    dense |= !used && transport_->queue(index).started();
    ++index;
  }
  uint16_t next = kStatisticsQueue;
  for (const auto& [role, feature] : kOptional) {
    const bool used = (features_.load() & feature) != 0;
    if (used) roles_[next] = role;
    if (used || !dense) ++next;
  }
}

void Balloon::start(Transport& transport, uint64_t features, unsigned thread) {
  transport_ = &transport;
  features_.store(features);
  loaded_ = false;
  unfinished_.fill(false);
  assign_roles();
  hints_.forget_driver();
  hints_.allow((features & kFreePageHint) != 0 && !keeps_poison());
  transport.thread(thread).watch(wake_.get(), [this] {
    drain_eventfd(wake_.get());
    if (resumed_) woken();
  });
}

void Balloon::stop(unsigned thread) {
  if (transport_ != nullptr) transport_->thread(thread).unwatch(wake_.get());
  transport_ = nullptr;
  features_.store(0);
  hints_.allow(false);
  if (!loaded_) {
    actual_.store(0);
    poison_.store(0);
  }
  const std::lock_guard lock(statistics_mutex_);
  statistics_ = {};
}

void Balloon::resume(unsigned) {
  resumed_ = true;
  if (transport_ != nullptr) woken();
}

void Balloon::woken() {
  if (tell_config_.exchange(false)) transport_->config_changed();
  for (size_t q = 0; q < unfinished_.size(); ++q) {
    if (std::exchange(unfinished_[q], false)) notified(static_cast<uint16_t>(q));
  }
  if (wants_statistics_.exchange(false) && roles_[kStatisticsQueue] == Role::kStatistics)
    ask_statistics(kStatisticsQueue);
}

void Balloon::notified(uint16_t index) {
  if (transport_ == nullptr) return;
  const Role role = roles_[index];
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
  // 64 pages are a word to whoever is told.
  if (role == Role::kHint) return hints_.take(chain_, transport_->memory()) / 64 + 1;
  if (role == Role::kReport && !keeps_poison()) return take_report();
  return 1;
}

// 5.5.6.1: numbers of pages of 4 KiB.
std::optional<uint64_t> Balloon::inflate() {
  const uint64_t count = chain_.readable_bytes / sizeof(uint32_t);
  if (count > kMostGiven) return {};
  given_.resize(count);
  copy_out(chain_.readable, 0, std::as_writable_bytes(std::span(given_)));
  std::sort(given_.begin(), given_.end());
  for (size_t i = 0; i < given_.size();) {
    const uint64_t first = given_[i];
    uint64_t end = first;
    while (i < given_.size() && given_[i] <= end) end = given_[i++] + uint64_t{1};
    if (!discard(Gpa{first << kPageShift}, ByteCount{(end - first) << kPageShift})) return {};
  }
  return count + 1;
}

// 5.5.6.7: the buffers are the pages.
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
  const size_t bytes = copy_out(chain_.readable, 0, raw);
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
  if (!hints_offered_) return;
  out.u32(poison_.load());
  out.u32(hints_.latest());
}

Result<> Balloon::load(ByteReader& in, uint16_t version) {
  const uint32_t target = in.u32();
  const uint32_t actual = in.u32();
  const bool more = version >= 2 && hints_offered_;
  const uint32_t poison = more ? in.u32() : 0;
  const uint32_t session = more ? in.u32() : 0;
  GODWIT_TRY(in.finish());
  if (session != 0 && session < FreePageHinting::kFirstId)
    return make_error(Errc::kCorrupt, "{}: {} cannot be the number of a session", type(), session);
  target_.store(target);
  actual_.store(actual);
  poison_.store(poison);
  hints_.set_latest(session);
  loaded_ = true;
  return {};
}

}  // namespace godwit::devices::virtio
