// A network made of socket pairs, one per queue pair, that outlives the backends on it: what is not
// read by one is there for the next.
#pragma once
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <memory>
#include <stdexcept>
#include <vector>

#include "devices/net/net_backend.h"
#include "vmm/base/fd.h"
#include "vmm/base/syscall.h"

namespace godwit::devices::virtio {

using Bytes = std::vector<std::byte>;

inline constexpr NetOffloads kAllOffloads = {
    .checksum = true, .tso4 = true, .tso6 = true, .ecn = true};

// Frames here have their vnet header.
class Wire {
 public:
  explicit Wire(size_t pairs = 1) {
    for (size_t i = 0; i < pairs; ++i) {
      int fds[2];
      check_syscall(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds),
                    "socketpair");
      device_.emplace_back(fds[0]);
      network_.emplace_back(fds[1]);
    }
  }
  [[nodiscard]] size_t pairs() const { return device_.size(); }
  [[nodiscard]] int device_fd(size_t pair) const { return device_[pair].get(); }

  void send(const Bytes& frame, size_t pair = 0) {
    if (!try_send(frame, pair)) throw std::runtime_error("the wire is full");
  }
  // False: it is full.
  bool try_send(const Bytes& frame, size_t pair = 0) {
    return ::write(network_[pair].get(), frame.data(), frame.size()) ==
           static_cast<ssize_t>(frame.size());
  }
  // The next one; empty when none comes within `wait_ms`.
  Bytes receive(size_t pair = 0, int wait_ms = 10'000) {
    pollfd set{network_[pair].get(), POLLIN, 0};
    if (::poll(&set, 1, wait_ms) != 1) return {};
    Bytes frame(kMaxNetFrameBytes);
    const ssize_t n = ::read(network_[pair].get(), frame.data(), frame.size());
    frame.resize(n < 0 ? 0 : static_cast<size_t>(n));
    return frame;
  }
  // Only so much fits into it unread.
  void limit(int bytes) {
    for (const UniqueFd& fd : device_)
      ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
  }

  std::atomic<bool> gone = false;
  std::atomic<int> receive_calls = 0;
  std::atomic<size_t> active_pairs = 1;
  std::atomic<int> stale = 0;
  std::atomic<int> malformed = 0;
  std::atomic<int> too_long = 0;
  NetOffloads guest_offloads;

 private:
  std::vector<UniqueFd> device_, network_;
};

class WireBackend final : public NetBackend {
 public:
  explicit WireBackend(std::shared_ptr<Wire> wire, NetOffloads offloads = kAllOffloads)
      : wire_(std::move(wire)), offloads_(offloads) {}
  [[nodiscard]] size_t queue_pairs() const override { return wire_->pairs(); }
  Result<> set_active_pairs(size_t pairs) override {
    wire_->active_pairs = pairs;
    return {};
  }
  NetReceived receive(size_t pair, std::span<const iovec> to) override {
    ++wire_->receive_calls;
    if (wire_->gone) return {NetResult::kGone};
    if (!running_ || pair >= wire_->active_pairs) return {};
    msghdr message{};
    message.msg_iov = const_cast<iovec*>(to.data());
    message.msg_iovlen = to.size();
    const ssize_t n = ::recvmsg(wire_->device_fd(pair), &message, MSG_TRUNC);
    if (n < 0) return {};
    if ((message.msg_flags & MSG_TRUNC) != 0) {
      ++wire_->too_long;
      return {NetResult::kDropped};
    }
    return {NetResult::kDone, static_cast<size_t>(n)};
  }
  NetResult send(size_t pair, std::span<const iovec> frame) override {
    if (!running_) return NetResult::kNotNow;
    if (wire_->gone) return NetResult::kGone;
    size_t bytes = 0;
    for (const iovec& piece : frame) bytes += piece.iov_len;
    if (bytes < kVnetHeaderBytes + 14 || bytes > kMaxNetFrameBytes) {
      ++wire_->malformed;
      return NetResult::kDropped;
    }
    msghdr message{};
    message.msg_iov = const_cast<iovec*>(frame.data());
    message.msg_iovlen = frame.size();
    return ::sendmsg(wire_->device_fd(pair), &message, MSG_NOSIGNAL) < 0 ? NetResult::kNotNow
                                                                         : NetResult::kDone;
  }
  [[nodiscard]] int poll_fd(size_t pair) const override { return wire_->device_fd(pair); }
  [[nodiscard]] NetOffloads offloads() const override { return offloads_; }
  NetOffloads set_guest_offloads(NetOffloads guest) override {
    return wire_->guest_offloads = (guest & offloads_).consistent();
  }
  [[nodiscard]] std::optional<uint16_t> mtu() const override { return std::nullopt; }
  void quiesce() override { running_ = false; }
  void resume(QueuedFrames queued) override {
    std::byte byte;
    if (queued == QueuedFrames::kDrop && !running_) {
      for (size_t i = 0; i < wire_->pairs(); ++i) {
        while (::recv(poll_fd(i), &byte, 1, 0) >= 0) ++wire_->stale;
      }
    }
    running_ = true;
  }
  [[nodiscard]] std::string host_name() const override { return "wire"; }
  [[nodiscard]] NetCounters counters() const override { return {}; }

 private:
  std::shared_ptr<Wire> wire_;
  NetOffloads offloads_;
  std::atomic<bool> running_ = false;
};

}  // namespace godwit::devices::virtio
