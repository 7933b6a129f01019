#include "devices/net/tap_backend.h"

#include <limits.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "devices/net/ethernet.h"
#include "vmm/base/check.h"

namespace godwit::devices {
namespace {

// linux/if_tun.h since 6.2; the kernel takes the two together only.
constexpr unsigned kTunUso = 0x20 | 0x40;
// More than a tap's queue ever holds by default (1000), and an end when frames keep coming.
constexpr size_t kMaxStaleFrames = 4096;

unsigned tun_flags(const NetOffloads& offloads) {
  return (offloads.checksum ? TUN_F_CSUM : 0u) | (offloads.tso4 ? TUN_F_TSO4 : 0u) |
         (offloads.tso6 ? TUN_F_TSO6 : 0u) | (offloads.ecn ? TUN_F_TSO_ECN : 0u) |
         (offloads.ufo ? TUN_F_UFO : 0u) | (offloads.uso ? kTunUso : 0u);
}

// What the kernel knows: it refuses the whole set for one that it does not.
NetOffloads probe_offloads(int fd) {
  NetOffloads all{
      .checksum = true, .tso4 = true, .tso6 = true, .ecn = true, .ufo = true, .uso = true};
  const auto accepted = [fd](const NetOffloads& set) {
    return ::ioctl(fd, TUNSETOFFLOAD, tun_flags(set)) == 0;
  };
  if (!accepted(all)) all.uso = false;
  if (!all.uso && !accepted(all)) all.ufo = false;
  if (!all.ufo && !accepted(all)) all = {};
  ::ioctl(fd, TUNSETOFFLOAD, 0);
  return all;
}

size_t total_bytes(std::span<const iovec> pieces) {
  size_t total = 0;
  for (const iovec& piece : pieces) {
    if (piece.iov_len > kMaxNetFrameBytes - total) return kMaxNetFrameBytes + 1;
    total += piece.iov_len;
  }
  return total;
}

void add(std::atomic<uint64_t>& counter, uint64_t n) {
  counter.fetch_add(n, std::memory_order_relaxed);
}

}  // namespace

NetOffloads NetOffloads::consistent() const {
  if (!checksum) return {};
  NetOffloads result = *this;
  result.ecn = ecn && (tso4 || tso6);
  return result;
}

NetOffloads NetOffloads::operator&(const NetOffloads& other) const {
  return {checksum && other.checksum, tso4 && other.tso4, tso6 && other.tso6,
          ecn && other.ecn,           ufo && other.ufo,   uso && other.uso};
}

Result<std::unique_ptr<NetBackend>> TapBackend::open(const NetConfig& config) {
  GODWIT_ASSIGN(OpenTap tap, open_tap(config));
  auto backend = std::make_unique<TapBackend>(std::move(tap), config.offload);
  GODWIT_TRY(backend->set_active_pairs(1));
  return backend;
}

TapBackend::TapBackend(OpenTap tap, bool offload)
    : name_(std::move(tap.name)), mtu_(tap.mtu), active_pairs_(tap.queues.size()) {
  for (UniqueFd& fd : tap.queues) {
    queues_.push_back(std::make_unique<Queue>());
    queues_.back()->fd = std::move(fd);
  }
  if (offload) host_offloads_ = probe_offloads(queues_[0]->fd.get());
}

Result<> TapBackend::set_active_pairs(size_t pairs) {
  GODWIT_CHECK(pairs >= 1 && pairs <= queues_.size(), "active queue pairs");
  // A queue counts as active only while it is attached.
  for (size_t n = active_pairs_; n < pairs; ++n) {
    GODWIT_TRY(switch_queue(n, true));
    active_pairs_ = n + 1;
  }
  for (size_t n = active_pairs_; n > pairs; --n) {
    active_pairs_ = n - 1;
    GODWIT_TRY(switch_queue(n - 1, false));
  }
  return {};
}

Result<> TapBackend::switch_queue(size_t pair, bool on) {
  ifreq request{};
  request.ifr_flags = on ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE;
  if (::ioctl(queues_[pair]->fd.get(), TUNSETQUEUE, &request) == 0) return {};
  return error_from_errno(errno, fmt::format("tap interface '{}': switching its queue {} {} "
                                             "(TUNSETQUEUE) failed",
                                             name_, pair, on ? "on" : "off"));
}

NetReceived TapBackend::receive(size_t pair, std::span<const iovec> to) {
  Queue& queue = *queues_[pair];
  if (!running_.load(std::memory_order_acquire) || pair >= active_pairs_) return {};
  // One byte more than there is room for tells a frame that was cut from one that just fits.
  std::byte excess;
  to = to.first(std::min<size_t>(to.size(), IOV_MAX - 1));
  queue.read_pieces.assign(to.begin(), to.end());
  queue.read_pieces.push_back({&excess, 1});
  const ssize_t n =
      ::readv(queue.fd.get(), queue.read_pieces.data(), static_cast<int>(queue.read_pieces.size()));
  if (n < 0) return {receive_failed(errno)};
  const auto bytes = static_cast<size_t>(n);
  if (bytes > total_bytes(to)) {
    add(drops_.too_long, 1);
    return {NetResult::kDropped};
  }
  add(queue.received.frames, 1);
  add(queue.received.bytes, bytes - kVnetHeaderBytes);
  return {NetResult::kDone, bytes};
}

NetResult TapBackend::send(size_t pair, std::span<const iovec> frame) {
  Queue& queue = *queues_[pair];
  if (!running_.load(std::memory_order_acquire)) return NetResult::kNotNow;
  const size_t bytes = total_bytes(frame);
  if (frame.size() > IOV_MAX || bytes > kMaxNetFrameBytes ||
      bytes < kVnetHeaderBytes + kEthernetHeaderBytes)
    return send_failed(EINVAL);
  if (pair >= active_pairs_) return send_failed(EBADFD);
  if (::writev(queue.fd.get(), frame.data(), static_cast<int>(frame.size())) < 0)
    return send_failed(errno);
  add(queue.sent.frames, 1);
  add(queue.sent.bytes, bytes - kVnetHeaderBytes);
  return NetResult::kDone;
}

// A queue that is switched off meanwhile fails like one whose interface was removed. The first one
// is never switched off.
bool TapBackend::is_gone() const {
  ifreq request{};
  return ::ioctl(queues_[0]->fd.get(), TUNGETIFF, &request) != 0;
}

NetResult TapBackend::receive_failed(int errno_value) {
  switch (errno_value) {
    case EAGAIN:
    case EINTR:
    case ENOMEM:
      return NetResult::kNotNow;
    case EINVAL:  // not even room for the header
      add(drops_.too_long, 1);
      return NetResult::kDropped;
    case EFAULT:
      add(drops_.other, 1);
      return NetResult::kDropped;
    default:  // EBADFD
      return is_gone() ? NetResult::kGone : NetResult::kNotNow;
  }
}

NetResult TapBackend::send_failed(int errno_value) {
  switch (errno_value) {
    case EAGAIN:
    case EINTR:
      return NetResult::kNotNow;
    case EINVAL:
    case EMSGSIZE:
      add(drops_.malformed, 1);
      break;
    case EIO:
      add(drops_.link_down, 1);
      break;
    case EBADFD:
      if (!is_gone()) {
        add(drops_.inactive_queue, 1);
        break;
      }
      add(drops_.link_down, 1);
      return NetResult::kGone;
    case ENOMEM:
    case ENOBUFS:
      add(drops_.no_memory, 1);
      break;
    default:
      add(drops_.other, 1);
  }
  return NetResult::kDropped;
}

NetOffloads TapBackend::set_guest_offloads(NetOffloads guest) {
  const NetOffloads wanted = (guest & host_offloads_).consistent();
  // Any subset of what the probe found is taken; else the interface is gone, and nothing counts.
  ::ioctl(queues_[0]->fd.get(), TUNSETOFFLOAD, tun_flags(wanted));
  return wanted;
}

void TapBackend::resume(QueuedFrames queued) {
  if (queued == QueuedFrames::kDrop && !running_.load(std::memory_order_acquire)) {
    for (size_t i = 0; i < active_pairs_; ++i) drop_queued(*queues_[i]);
  }
  running_.store(true, std::memory_order_release);
}

void TapBackend::drop_queued(Queue& queue) {
  // The rest of a frame that does not fit is thrown away by the kernel.
  std::array<std::byte, kVnetHeaderBytes> header;
  for (size_t i = 0; i < kMaxStaleFrames; ++i) {
    if (::read(queue.fd.get(), header.data(), header.size()) < 0) return;
    add(drops_.stale, 1);
  }
}

NetCounters TapBackend::counters() const {
  const auto read = [](const Count& counter) { return counter.load(std::memory_order_relaxed); };
  NetCounters sum{.dropped_malformed = read(drops_.malformed),
                  .dropped_link_down = read(drops_.link_down),
                  .dropped_no_memory = read(drops_.no_memory),
                  .dropped_inactive_queue = read(drops_.inactive_queue),
                  .dropped_too_long = read(drops_.too_long),
                  .dropped_stale = read(drops_.stale),
                  .dropped_other = read(drops_.other)};
  for (const auto& queue : queues_) {
    sum.sent_frames += read(queue->sent.frames);
    sum.sent_bytes += read(queue->sent.bytes);
    sum.received_frames += read(queue->received.frames);
    sum.received_bytes += read(queue->received.bytes);
  }
  return sum;
}

}  // namespace godwit::devices
