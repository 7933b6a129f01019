#include "devices/virtio/console.h"

#include <algorithm>

#include "devices/virtio/spec.h"

namespace godwit::devices::virtio {
namespace {

// 5.3.2.
constexpr uint16_t kReceiveQueue = 0;
constexpr uint16_t kTransmitQueue = 1;

}  // namespace

Console::Console(std::unique_ptr<ConsoleBackend> backend)
    : backend_(std::move(backend)), wake_(make_eventfd()) {
  backend_->attach(*this);
}

Console::~Console() {
  backend_->shut_down(Unsent::kSendUnlessQuiesced);
}

uint16_t Console::device_id() const {
  return kConsole;
}

// 5.3.4: every field belongs to a feature that is not offered.
void Console::read_config(uint32_t, std::span<std::byte> data) const {
  std::fill(data.begin(), data.end(), std::byte{0});
}

void Console::start(Transport& transport, uint64_t, unsigned thread) {
  transport_ = &transport;
  loaded_ = false;
  transport.thread(thread).watch(wake_.get(), [this] {
    drain_eventfd(wake_.get());
    if (!resumed_) return;
    serve_transmit();
    serve_receive();
  });
}

void Console::stop(unsigned thread) {
  if (transport_ != nullptr) transport_->thread(thread).unwatch(wake_.get());
  transport_ = nullptr;
  if (!loaded_) sent_ = 0;
}

void Console::notified(uint16_t queue) {
  if (queue == kTransmitQueue) serve_transmit();
  if (queue == kReceiveQueue) serve_receive();
}

bool Console::send_rest() {
  uint64_t skip = sent_;
  for (const Buffer& buffer : chain_.readable) {
    if (skip >= buffer.bytes.size()) {
      skip -= buffer.bytes.size();
      continue;
    }
    const auto rest = buffer.bytes.subspan(skip);
    skip = 0;
    const size_t taken = backend_->write(rest);
    sent_ += static_cast<uint32_t>(taken);
    if (taken < rest.size()) return false;
  }
  return true;
}

void Console::serve_transmit() {
  if (transport_ == nullptr) return;
  Queue& queue = transport_->queue(kTransmitQueue);
  if (!queue.started()) return;
  do {
    queue.disable_notifications();
    for (;;) {
      const Queue::Pop popped = queue.pop(chain_);
      if (popped == Queue::Pop::kBroken) return transport_->broken(queue.error());
      if (popped == Queue::Pop::kEmpty) break;
      if (!send_rest()) {
        // The console says when there is room. Until then the request stays the driver's to see.
        queue.unpop();
        return transport_->flush(kTransmitQueue);
      }
      sent_ = 0;
      queue.push(chain_, 0);
    }
    transport_->flush(kTransmitQueue);
  } while (queue.enable_notifications());
}

bool Console::fill_from_input(Queue& queue) {
  const std::lock_guard lock(mutex_);
  uint32_t written = 0;
  for (const Buffer& buffer : chain_.writable) {
    std::span<std::byte> rest = buffer.bytes;
    while (!rest.empty() && !input_.empty()) {
      const auto from = input_.front().first(std::min(rest.size(), input_.front().size()));
      std::copy(from.begin(), from.end(), rest.begin());
      rest = rest.subspan(from.size());
      written += static_cast<uint32_t>(from.size());
      input_.pop(from.size());
    }
  }
  queue.push(chain_, written);
  return !input_.empty();
}

void Console::serve_receive() {
  if (transport_ == nullptr) return;
  Queue& queue = transport_->queue(kReceiveQueue);
  if (!queue.started()) return;
  const auto has_input = [this] {
    const std::lock_guard lock(mutex_);
    return !input_.empty();
  };
  bool more = has_input();
  while (more) {
    queue.disable_notifications();
    const Queue::Pop popped = queue.pop(chain_);
    if (popped == Queue::Pop::kBroken) return transport_->broken(queue.error());
    if (popped == Queue::Pop::kEmpty) {
      // Rings when the driver has room again.
      if (queue.enable_notifications()) continue;
      break;
    }
    more = fill_from_input(queue);
  }
  transport_->flush(kReceiveQueue);
  const std::lock_guard lock(mutex_);
  if (!input_stopped_ || input_.room() < kConsoleInputChunk) return;
  // Only now: while it was not stopped, a chunk may be on its way for which the room is kept.
  input_stopped_ = false;
  backend_->set_input_wanted(true);
}

bool Console::receive(std::span<const std::byte> bytes) {
  const std::lock_guard lock(mutex_);
  input_.push(bytes);
  input_stopped_ = input_.room() < kConsoleInputChunk;
  ring_eventfd(wake_.get());
  return !input_stopped_;
}

void Console::output_room() {
  ring_eventfd(wake_.get());
}

void Console::quiesce(unsigned) {
  // A guest's last words may have been rung for a moment ago.
  if (resumed_) serve_transmit();
  resumed_ = false;
  backend_->quiesce();
}

void Console::resume(unsigned) {
  resumed_ = true;
  {
    const std::lock_guard lock(mutex_);
    // What came with the state may leave no room.
    if (input_.room() < kConsoleInputChunk) {
      input_stopped_ = true;
      backend_->set_input_wanted(false);
    }
  }
  serve_transmit();
  serve_receive();
  backend_->resume();
}

void Console::shut_down(bool elsewhere) noexcept {
  backend_->shut_down(elsewhere ? Unsent::kDiscard : Unsent::kSend);
}

void Console::save(ByteWriter& out) const {
  const std::lock_guard lock(mutex_);
  out.u32(sent_);
  out.u32(static_cast<uint32_t>(input_.size()));
  out.bytes(input_.front());
  out.bytes(input_.back());
  backend_->save_output(out);
}

Result<> Console::load(ByteReader& in, uint16_t) {
  const uint32_t sent = in.u32();
  const auto input = in.blob(kInputBytes, "the console's input");
  const auto output = in.blob(kConsoleOutputBytes, "the unsent output's size");
  GODWIT_TRY(in.finish());
  const std::lock_guard lock(mutex_);
  sent_ = sent;
  input_.clear();
  input_.push(input);
  backend_->load_output(output);
  loaded_ = true;
  return {};
}

}  // namespace godwit::devices::virtio
