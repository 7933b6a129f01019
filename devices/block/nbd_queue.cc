#include "devices/block/nbd_queue.h"

#include <libnbd.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "vmm/base/syscall.h"

namespace godwit::devices {
namespace {

// Written by servers that cannot zero.
constinit std::array<std::byte, NbdQueue::kGatherBytes> zeroes{};

void watch(int epoll, int fd) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.fd = fd;
  check_syscall(::epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event), "epoll_ctl(EPOLL_CTL_ADD)");
}

}  // namespace

NbdQueue::NbdQueue(const DiskConfig& config, const NbdExport& server, NbdHandle handle)
    : BlockQueue(server.info, config.queue_size),
      config_(config),
      server_(server),
      handle_(std::move(handle)),
      events_(check_syscall(::epoll_create1(EPOLL_CLOEXEC), "epoll_create1")),
      timer_(check_syscall(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK),
                           "timerfd_create")),
      ready_(check_syscall(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), "eventfd")),
      requests_(config.queue_size),
      commands_(kMaxCommands) {
  for (size_t i = requests_.size(); i-- > 0;) free_requests_.push_back(static_cast<uint32_t>(i));
  for (size_t i = commands_.size(); i-- > 0;) free_commands_.push_back(static_cast<uint32_t>(i));
  watch(events_.get(), timer_.get());
  watch(events_.get(), ready_.get());
  watch_handle();
}

NbdQueue::~NbdQueue() {
  // Tells an idle server goodbye. libnbd touches no memory of ours after nbd_close().
  if (handle_ && nbd_aio_is_ready(handle_.get()) == 1) (void)nbd_aio_disconnect(handle_.get(), 0);
}

void NbdQueue::take(const BlockRequest& request) {
  const uint32_t slot = free_requests_.back();
  Request& taken = requests_[slot];
  taken.memory.assign(request.iov);
  taken.request = request;
  taken.request.iov = {};
  taken.at = {};
  taken.offset = request.offset;
  taken.left = request.op == BlockOp::kFlush ? 0 : request.length;
  taken.commands = 0;
  taken.error = 0;
  taken.waiting = true;
  free_requests_.pop_back();
  waiting_.push_back(slot);
}

void NbdQueue::kick() {
  pump();
  watch_handle();
  set_ready(!done_.empty());
}

size_t NbdQueue::collect(std::span<BlockCompletion> done) {
  service();
  pump();
  watch_handle();
  const size_t n = std::min(done.size(), done_.size());
  std::copy_n(done_.begin(), n, done.begin());
  done_.erase(done_.begin(), done_.begin() + static_cast<ptrdiff_t>(n));
  set_ready(!done_.empty());
  return n;
}

bool NbdQueue::may_make_command() const {
  return !waiting_.empty() && !free_commands_.empty() &&
         bounce_bytes_ + kGatherBytes <= kMaxBounceBytes;
}

void NbdQueue::pump() {
  if (state_ != State::kConnected && given_up()) fail_all();
  while (state_ == State::kConnected && !unsent_.empty()) {
    const uint32_t index = unsent_.front();
    unsent_.pop_front();
    if (!issue(index)) return;
  }
  while (state_ == State::kConnected && may_make_command()) make_command(waiting_.front());
}

void NbdQueue::make_command(uint32_t slot) {
  Request& request = requests_[slot];
  const BlockOp op = request.request.op;
  const uint32_t index = free_commands_.back();
  Command& command = commands_[index];
  command.request = slot;
  command.offset = request.offset;
  command.cookie = 0;
  command.memory = nullptr;
  if (op == BlockOp::kRead || op == BlockOp::kWrite) {
    place_transfer(request, command);
  } else if (op == BlockOp::kWriteZeroes && !server_.can_zero) {
    command.memory = zeroes.data();
    command.length = std::min<uint64_t>({request.left, zeroes.size(), server_.max_transfer_bytes});
  } else {
    command.length = request.left;  // at most kMaxBlockRangeBytes: submit() saw to that
  }
  request.offset += command.length;
  request.left -= command.length;
  ++request.commands;
  free_commands_.pop_back();
  if (request.left == 0) {
    request.waiting = false;
    waiting_.pop_front();
  }
  if (op == BlockOp::kFlush && !server_.can_flush) {
    // The protocol's word for a server that has no cache of its own, or no way to flush it.
    end_command(index, 0);
    return;
  }
  issue(index);
}

void NbdQueue::place_transfer(Request& request, Command& command) {
  const uint64_t block = info_.logical_block_bytes;
  const std::span<std::byte> piece = request.memory.piece(request.at);
  command.at = request.at;
  if (piece.size() >= std::min<uint64_t>(request.left, kLargePieceBytes)) {
    command.memory = piece.data();
    command.length = std::min<uint64_t>(piece.size(), server_.max_transfer_bytes);
    command.length -= command.length % block;
  } else {
    const uint64_t most = std::min<uint64_t>(kGatherBytes, server_.max_transfer_bytes);
    command.length = std::min(request.left, most);
    command.bounce = std::make_unique_for_overwrite<std::byte[]>(command.length);
    command.memory = command.bounce.get();
    bounce_bytes_ += command.length;
    if (request.request.op == BlockOp::kWrite) {
      request.memory.gather(request.at, {command.memory, command.length});
    }
  }
  request.memory.advance(request.at, command.length);
}

// Whether the connection still stands.
bool NbdQueue::issue(uint32_t index) {
  Command& command = commands_[index];
  const int64_t cookie = hand_to_library(command, requests_[command.request]);
  ++counters_.host_calls;
  if (cookie > 0) {
    command.cookie = cookie;
    if (nbd_aio_is_dead(handle_.get()) != 1 && nbd_aio_is_closed(handle_.get()) != 1) return true;
    lose(nbd_error(config_, "lost the connection to"));
    return false;
  }
  const int error = nbd_get_errno();
  if (nbd_aio_is_dead(handle_.get()) == 1 || nbd_aio_is_closed(handle_.get()) == 1) {
    unsent_.push_front(index);
    lose(nbd_error(config_, "lost the connection to"));
    return false;
  }
  end_command(index, error != 0 ? error : EIO);
  return true;
}

int64_t NbdQueue::hand_to_library(const Command& command, const Request& request) {
  nbd_handle* const h = handle_.get();
  switch (request.request.op) {
    case BlockOp::kRead:
      return nbd_aio_pread(h, command.memory, command.length, command.offset, NBD_NULL_COMPLETION,
                           0);
    case BlockOp::kFlush:
      return nbd_aio_flush(h, NBD_NULL_COMPLETION, 0);
    case BlockOp::kDiscard:
      return nbd_aio_trim(h, command.length, command.offset, NBD_NULL_COMPLETION, 0);
    case BlockOp::kWriteZeroes:
      if (server_.can_zero) {
        return nbd_aio_zero(h, command.length, command.offset, NBD_NULL_COMPLETION,
                            request.request.unmap ? 0 : LIBNBD_CMD_FLAG_NO_HOLE);
      }
      break;
    case BlockOp::kWrite:
      break;
  }
  return nbd_aio_pwrite(h, command.memory, command.length, command.offset, NBD_NULL_COMPLETION, 0);
}

void NbdQueue::end_command(uint32_t index, int error) {
  Command& command = commands_[index];
  Request& request = requests_[command.request];
  if (command.bounce) {
    if (error == 0 && request.request.op == BlockOp::kRead) {
      request.memory.scatter(command.at, {command.memory, command.length});
    }
    bounce_bytes_ -= command.length;
    command.bounce.reset();
  }
  command.cookie = 0;
  free_commands_.push_back(index);
  --request.commands;
  if (request.error == 0) request.error = error;
  end_if_over(command.request);
}

void NbdQueue::end_if_over(uint32_t slot) {
  Request& request = requests_[slot];
  if (request.error != 0 && request.waiting) {
    // The rest of a failed request is not worth the way.
    waiting_.erase(std::find(waiting_.begin(), waiting_.end(), slot));
    request.waiting = false;
    request.left = 0;
  }
  if (request.commands > 0 || request.waiting) return;
  done_.push_back({request.request.tag, request.error});
  free_requests_.push_back(slot);
}

// Takes what libnbd has finished. On a connection that died, only what had succeeded. False: the
// server wants no more of us.
bool NbdQueue::harvest() {
  nbd_handle* const h = handle_.get();
  bool shutting_down = false;
  for (int64_t cookie = 0; (cookie = nbd_aio_peek_command_completed(h)) > 0;) {
    const int completed = nbd_aio_command_completed(h, static_cast<uint64_t>(cookie));
    const int error = completed == 1 ? 0 : nbd_get_errno();
    const auto command = std::find_if(commands_.begin(), commands_.end(),
                                      [&](const Command& c) { return c.cookie == cookie; });
    if (command == commands_.end()) continue;
    const auto index = static_cast<uint32_t>(command - commands_.begin());
    const bool lost = nbd_aio_is_dead(h) == 1 || nbd_aio_is_closed(h) == 1;
    if (error == ESHUTDOWN || error == ENOTCONN || (error != 0 && lost)) {
      shutting_down = true;  // to be done again elsewhere
      continue;
    }
    lost_since_.reset();
    told_ = false;
    end_command(index, error != 0 || completed == 1 ? error : EIO);
  }
  return !shutting_down;
}

}  // namespace godwit::devices
