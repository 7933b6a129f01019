#include "devices/block/uring_queue.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "vmm/base/check.h"
#include "vmm/base/syscall.h"

namespace godwit::devices {
namespace {

// The first is free of interrupts that only tell of completions: who waits is woken all the same
// (Linux 5.19).
int make_ring(io_uring& ring, unsigned entries) {
  io_uring_params params{};
  params.flags = IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG;
  const int made = io_uring_queue_init_params(entries, &ring, &params);
  if (made != -EINVAL) return made;
  params = {};
  return io_uring_queue_init_params(entries, &ring, &params);
}

bool has_operations(io_uring& ring) {
  io_uring_probe* const probe = io_uring_get_probe_ring(&ring);
  if (probe == nullptr) return false;
  bool all = true;
  for (const int op : {IORING_OP_READV, IORING_OP_WRITEV, IORING_OP_FSYNC, IORING_OP_FALLOCATE}) {
    all = all && io_uring_opcode_supported(probe, op) != 0;
  }
  io_uring_free_probe(probe);
  return all;
}

void watch(int epoll, int fd) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.fd = fd;
  check_syscall(::epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event), "epoll_ctl(EPOLL_CTL_ADD)");
}

}  // namespace

Result<std::unique_ptr<BlockQueue>> UringQueue::create(const BlockInfo& info, BlockFile& file,
                                                       size_t capacity) {
  std::unique_ptr<UringQueue> queue(new UringQueue(info, file, capacity));
  GODWIT_TRY(queue->set_up());
  return std::unique_ptr<BlockQueue>(std::move(queue));
}

UringQueue::UringQueue(const BlockInfo& info, BlockFile& file, size_t capacity)
    : BlockQueue(info, capacity), file_(file), slots_(capacity) {
  for (size_t i = capacity; i-- > 0;) free_.push_back(static_cast<uint32_t>(i));
}

Result<> UringQueue::set_up() {
  const int made = make_ring(ring_, static_cast<unsigned>(capacity()));
  if (made < 0) {
    return make_error(Errc::kUnsupported, "io_uring_setup for {} requests failed (errno {}: {})",
                      capacity(), -made, std::generic_category().message(-made));
  }
  ring_made_ = true;
  if (!has_operations(ring_)) {
    return make_error(Errc::kUnsupported, "this host's io_uring lacks fallocate (Linux 5.6)");
  }
  // Spares the host a look-up per request.
  const int registered = io_uring_register_files(&ring_, &file_.fd, 1);
  if (registered < 0) {
    return make_error(Errc::kUnsupported, "io_uring_register_files failed (errno {}: {})",
                      -registered, std::generic_category().message(-registered));
  }
  events_ = UniqueFd(check_syscall(::epoll_create1(EPOLL_CLOEXEC), "epoll_create1"));
  retry_ = UniqueFd(check_syscall(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), "eventfd"));
  watch(events_.get(), ring_.ring_fd);
  watch(events_.get(), retry_.get());
  return {};
}

UringQueue::~UringQueue() {
  if (!ring_made_) return;
  // The host may write into the guest's memory until it has answered.
  while (with_host_ > 0) {
    io_uring_cqe* cqe = nullptr;
    const int waited = io_uring_wait_cqe(&ring_, &cqe);
    if (waited == -EINTR) continue;
    GODWIT_CHECK(waited == 0, "io_uring_wait_cqe");
    io_uring_cqe_seen(&ring_, cqe);
    --with_host_;
  }
  io_uring_queue_exit(&ring_);
}

void UringQueue::take(const BlockRequest& request) {
  const uint32_t slot = free_.back();
  slots_[slot].start(file_, request);
  free_.pop_back();
  enqueue(slot);
}

void UringQueue::enqueue(uint32_t slot) {
  // Never full: it has an entry for each slot, and a slot has one call at a time.
  io_uring_sqe* const sqe = io_uring_get_sqe(&ring_);
  GODWIT_CHECK(sqe != nullptr, "submission ring");
  const FileCall call = slots_[slot].next();
  const auto parts = static_cast<unsigned>(call.iov.size());
  switch (call.kind) {
    case FileCall::Kind::kReadv:
      io_uring_prep_readv(sqe, 0, call.iov.data(), parts, call.offset);
      break;
    case FileCall::Kind::kWritev:
      io_uring_prep_writev(sqe, 0, call.iov.data(), parts, call.offset);
      break;
    case FileCall::Kind::kSync:
      io_uring_prep_fsync(sqe, 0, IORING_FSYNC_DATASYNC);
      break;
    case FileCall::Kind::kFallocate:
      io_uring_prep_fallocate(sqe, 0, call.mode, static_cast<off_t>(call.offset),
                              static_cast<off_t>(call.length));
      break;
  }
  sqe->flags |= IOSQE_FIXED_FILE;  // the 0 above is the index of our one file
  io_uring_sqe_set_data64(sqe, slot);
}

void UringQueue::kick() {
  while (io_uring_sq_ready(&ring_) > 0) {
    const int sent = io_uring_submit(&ring_);
    ++counters_.host_calls;
    if (sent == -EINTR) continue;
    // No memory right now. With nothing under way no completion would call us again.
    if (sent <= 0) return want_retry(true);
    with_host_ += static_cast<size_t>(sent);
  }
  want_retry(false);
}

void UringQueue::want_retry(bool wanted) {
  if (wanted == retry_wanted_) return;
  retry_wanted_ = wanted;
  uint64_t count = 1;
  if (wanted) {
    check_syscall(::write(retry_.get(), &count, sizeof count), "write(eventfd)");
  } else {
    check_syscall(::read(retry_.get(), &count, sizeof count), "read(eventfd)");
  }
}

size_t UringQueue::collect(std::span<BlockCompletion> done) {
  size_t n = 0;
  io_uring_cqe* cqe = nullptr;
  while (n < done.size() && io_uring_peek_cqe(&ring_, &cqe) == 0) {
    const auto slot = static_cast<uint32_t>(io_uring_cqe_get_data64(cqe));
    const int result = cqe->res;
    io_uring_cqe_seen(&ring_, cqe);
    --with_host_;
    if (const auto error = slots_[slot].answer(result)) {
      done[n++] = {slots_[slot].tag(), *error};
      free_.push_back(slot);
    } else {
      enqueue(slot);
    }
  }
  kick();
  return n;
}

}  // namespace godwit::devices
