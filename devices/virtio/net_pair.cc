#include "devices/virtio/net_pair.h"

#include <sys/epoll.h>

#include "vmm/base/syscall.h"

namespace godwit::devices::virtio {

NetPair::NetPair(NetBackend& backend, AddressBook& book, uint16_t index,
                 std::function<void()> on_gone)
    : backend_(backend),
      index_(index),
      on_gone_(std::move(on_gone)),
      receiver_(backend, book, index),
      sender_(backend, book, index),
      turn_(make_eventfd()),
      writable_(check_syscall(::epoll_create1(EPOLL_CLOEXEC), "epoll_create1")),
      active_(index == 0) {}

void NetPair::start(Transport& transport, uint64_t features) {
  thread_ = &transport.thread(index_);
  receiver_.start(transport, static_cast<uint16_t>(2 * index_), features);
  sender_.start(transport, static_cast<uint16_t>(2 * index_ + 1));
  thread_->watch(turn_.get(), [this] {
    drain_eventfd(turn_.get());
    woken();
    send();
  });
}

void NetPair::stop() {
  if (thread_ == nullptr) return;
  running_ = false;
  stop_polling();
  thread_->unwatch(turn_.get());
  receiver_.stop();
  sender_.stop();
  thread_ = nullptr;
}

void NetPair::quiesce() {
  running_ = false;
  stop_polling();
  receiver_.give_back();
}

void NetPair::resume() {
  running_ = thread_ != nullptr;
}

void NetPair::set_active(bool active) {
  active_ = active;
  if (active) {
    receive();
  } else {
    poll_receive(false);
    if (thread_ != nullptr) receiver_.give_back();
  }
}

void NetPair::rung(bool transmit) {
  if (transmit) {
    // While it waits for room, ringing helps nothing.
    if (!polls_send_) send();
  } else if (!polls_receive_) {
    receive();
  }
}

void NetPair::receive() {
  if (!running_ || !active_ || gone_) return;
  switch (receiver_.run()) {
    case NetReceiver::Waits::kFrames:
      return poll_receive(true);
    case NetReceiver::Waits::kGone:
      gone_ = true;
      poll_receive(false);
      return on_gone_();
    case NetReceiver::Waits::kBuffers:
    case NetReceiver::Waits::kBroken:
      return poll_receive(false);
  }
}

void NetPair::send() {
  if (!running_) return;
  const NetSender::Waits waits = sender_.run();
  poll_send(waits == NetSender::Waits::kBackend);
  if (waits == NetSender::Waits::kTurn) ring_eventfd(turn_.get());
}

void NetPair::poll_receive(bool on) {
  if (on == polls_receive_ || thread_ == nullptr) return;
  polls_receive_ = on;
  const int fd = backend_.poll_fd(index_);
  if (!on) return thread_->unwatch(fd);
  thread_->watch(fd, [this] {
    woken();
    receive();
  });
}

void NetPair::poll_send(bool on) {
  if (on == polls_send_ || thread_ == nullptr) return;
  polls_send_ = on;
  epoll_event event{};
  event.events = EPOLLOUT;
  const int fd = backend_.poll_fd(index_);
  ::epoll_ctl(writable_.get(), on ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, fd, &event);
  if (!on) return thread_->unwatch(writable_.get());
  thread_->watch(writable_.get(), [this] {
    woken();
    send();
  });
}

void NetPair::stop_polling() {
  poll_receive(false);
  poll_send(false);
}

}  // namespace godwit::devices::virtio
