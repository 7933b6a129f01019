// The part of NbdQueue that keeps its connection.
#include <libnbd.h>
#include <poll.h>
#include <spdlog/spdlog.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "devices/block/nbd_queue.h"
#include "vmm/base/syscall.h"

namespace godwit::devices {
namespace {

constexpr Nanoseconds kFirstPause = std::chrono::milliseconds(50);
constexpr Nanoseconds kLongestPause = std::chrono::seconds(1);
// Answers taken in one reap(); the rest waits for the next, so that other work gets its turn.
constexpr int kMaxTurns = 256;

bool is_gone(nbd_handle* h) {
  return nbd_aio_is_dead(h) == 1 || nbd_aio_is_closed(h) == 1;
}

}  // namespace

bool NbdQueue::given_up() const {
  return lost_since_ && now() >= *lost_since_ + config_.reconnect;
}

void NbdQueue::service() {
  std::array<epoll_event, 3> found{};
  const int n = ::epoll_wait(events_.get(), found.data(), found.size(), 0);
  for (int i = 0; i < n; ++i) {
    const auto& event = found[static_cast<size_t>(i)];
    if (event.data.fd == timer_.get()) {
      on_timer();
    } else if (event.data.fd == watched_fd_ && handle_) {
      drive(event.events);
    }
  }
}

void NbdQueue::drive(uint32_t epoll_events) {
  nbd_handle* const h = handle_.get();
  for (int turn = 0; turn < kMaxTurns && epoll_events != 0; ++turn) {
    const unsigned direction = nbd_aio_get_direction(h);
    const bool broken = (epoll_events & (EPOLLHUP | EPOLLERR)) != 0;
    const bool reads = (direction & LIBNBD_AIO_DIRECTION_READ) != 0;
    const bool writes = (direction & LIBNBD_AIO_DIRECTION_WRITE) != 0;
    int told = 0;
    if (reads && (broken || (epoll_events & EPOLLIN) != 0)) {
      told = nbd_aio_notify_read(h);
    } else if (writes && (broken || (epoll_events & EPOLLOUT) != 0)) {
      told = nbd_aio_notify_write(h);
    } else {
      break;
    }
    if (is_gone(h)) {
      const Error why = nbd_error(
          config_, told == -1 ? "lost the connection to" : "the connection was closed by");
      harvest();
      return lose(why);
    }
    if (state_ == State::kConnecting && nbd_aio_is_ready(h) == 1) return connected();
    pollfd poll{nbd_aio_get_fd(h), POLLIN, 0};
    if ((nbd_aio_get_direction(h) & LIBNBD_AIO_DIRECTION_WRITE) != 0) poll.events |= POLLOUT;
    // The bits of poll() and epoll are the same.
    epoll_events = ::poll(&poll, 1, 0) > 0 ? static_cast<uint32_t>(poll.revents) : 0;
  }
  if (state_ == State::kConnected && !harvest()) {
    lose(make_error(Errc::kIo, "disk {}: {} is shutting down", config_.id, config_.nbd_uri));
  }
}

void NbdQueue::connected() {
  auto again = nbd_look(config_, handle_.get());
  const auto same = again ? nbd_check_same(config_, server_, *again) : Result<>(again.error());
  if (!same) return lose(same.error());
  state_ = State::kConnected;
  watched_events_ = 0;  // the number may stand for another socket by now
  reason_.clear();
  spdlog::info("disk {}: connected to {} again; {} commands are done again", config_.id,
               config_.nbd_uri, unsent_.size());
  arm_timer();
}

void NbdQueue::drop_handle() {
  if (watched_fd_ >= 0) (void)::epoll_ctl(events_.get(), EPOLL_CTL_DEL, watched_fd_, nullptr);
  watched_fd_ = -1;
  handle_.reset();
}

void NbdQueue::lose(const Error& why) {
  if (why.message != reason_) spdlog::warn("{}; connecting again", why.message);
  reason_ = why.message;
  pause_ = state_ == State::kConnected ? kFirstPause : std::min(2 * pause_, kLongestPause);
  drop_handle();
  state_ = State::kWaiting;
  if (!lost_since_) lost_since_ = now();
  for (uint32_t index = 0; index < commands_.size(); ++index) {
    if (commands_[index].cookie == 0) continue;
    commands_[index].cookie = 0;
    unsent_.push_back(index);
  }
  next_attempt_ = now() + pause_;
  arm_timer();
}

void NbdQueue::try_again() {
  auto handle = nbd_begin(config_);
  state_ = State::kConnecting;
  if (!handle) return lose(handle.error());
  handle_ = std::move(*handle);
  attempt_deadline_ = now() + kNbdConnectLimit;
  if (is_gone(handle_.get())) return lose(nbd_error(config_, "cannot connect to"));
  if (nbd_aio_is_ready(handle_.get()) == 1) return connected();
  arm_timer();
}

void NbdQueue::on_timer() {
  uint64_t count = 0;
  (void)::read(timer_.get(), &count, sizeof count);
  if (state_ == State::kConnecting && now() >= attempt_deadline_) {
    return lose(
        make_error(Errc::kTimeout, "disk {}: {} does not answer", config_.id, config_.nbd_uri));
  }
  if (state_ == State::kWaiting && now() >= next_attempt_) return try_again();
  arm_timer();
}

void NbdQueue::arm_timer() {
  itimerspec when{};
  if (state_ != State::kConnected) {
    TimePoint next = state_ == State::kConnecting ? attempt_deadline_ : next_attempt_;
    if (!given_up()) next = std::min(next, *lost_since_ + config_.reconnect);
    const Nanoseconds left = std::max(next - now(), Nanoseconds(1));
    when.it_value.tv_sec = left.count() / 1'000'000'000;
    when.it_value.tv_nsec = left.count() % 1'000'000'000;
  }
  check_syscall(::timerfd_settime(timer_.get(), 0, &when, nullptr), "timerfd_settime");
}

void NbdQueue::fail_all() {
  if (!told_ && !(unsent_.empty() && waiting_.empty())) {
    told_ = true;
    spdlog::error("disk {}: {} has been gone for {} s, so requests fail until it is back ({})",
                  config_.id, config_.nbd_uri, config_.reconnect.count(), reason_);
  }
  while (!unsent_.empty()) {
    const uint32_t index = unsent_.front();
    unsent_.pop_front();
    end_command(index, EIO);
  }
  while (!waiting_.empty()) {
    const uint32_t slot = waiting_.front();
    requests_[slot].error = EIO;
    end_if_over(slot);
  }
}

void NbdQueue::watch_handle() {
  if (!handle_) return;
  const int fd = nbd_aio_get_fd(handle_.get());
  if (fd < 0) return;
  uint32_t wanted = 0;
  const unsigned direction = nbd_aio_get_direction(handle_.get());
  if ((direction & LIBNBD_AIO_DIRECTION_READ) != 0) wanted |= EPOLLIN;
  if ((direction & LIBNBD_AIO_DIRECTION_WRITE) != 0) wanted |= EPOLLOUT;
  // While it connects libnbd may go from one address to the next, under the same number.
  if (state_ == State::kConnected && fd == watched_fd_ && wanted == watched_events_) return;
  if (watched_fd_ >= 0 && watched_fd_ != fd) {
    (void)::epoll_ctl(events_.get(), EPOLL_CTL_DEL, watched_fd_, nullptr);
  }
  epoll_event event{};
  event.events = wanted;
  event.data.fd = fd;
  if (::epoll_ctl(events_.get(), EPOLL_CTL_MOD, fd, &event) != 0) {
    check_syscall(::epoll_ctl(events_.get(), EPOLL_CTL_ADD, fd, &event), "epoll_ctl(ADD)");
  }
  watched_fd_ = fd;
  watched_events_ = wanted;
}

void NbdQueue::set_ready(bool ready) {
  if (ready == ready_set_) return;
  ready_set_ = ready;
  uint64_t count = 1;
  if (ready) {
    check_syscall(::write(ready_.get(), &count, sizeof count), "write(eventfd)");
  } else {
    check_syscall(::read(ready_.get(), &count, sizeof count), "read(eventfd)");
  }
}

}  // namespace godwit::devices
