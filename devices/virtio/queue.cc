#include "devices/virtio/queue.h"

#include <atomic>
#include <bit>
#include <cstring>

#include "devices/virtio/spec.h"
#include "vmm/base/check.h"

namespace godwit::devices::virtio {
namespace {

constexpr uint64_t kDescriptorBytes = 16;
constexpr uint64_t kUsedElementBytes = 8;
constexpr uint64_t kRingHead = 4;  // flags and index
// A request may use as many descriptors as the queue has (2.7.5.3.1: also with indirect ones). Each
// of them is one of ours to look at, so this bounds the work.
constexpr uint64_t kMaxChainBytes = 0xffffffff;  // what the used ring can tell

uint64_t available_bytes(uint16_t size) {
  return kRingHead + uint64_t{size} * 2 + 2;
}
uint64_t used_bytes(uint16_t size) {
  return kRingHead + uint64_t{size} * kUsedElementBytes + 2;
}

Result<> check_area(vmm::GuestMemory& memory, const char* what, uint64_t address, uint64_t bytes,
                    uint64_t alignment) {
  if (address % alignment != 0)
    return make_error(Errc::kInvalidArgument, "the {} at {:#x} is not aligned to {}", what, address,
                      alignment);
  if (!memory.at(Gpa{address}, ByteCount{bytes}))
    return make_error(Errc::kInvalidArgument, "the {} at {:#x} ({} bytes) is not in RAM", what,
                      address, bytes);
  return {};
}

}  // namespace

Result<> Queue::check(const QueueSetup& setup, vmm::GuestMemory& memory) {
  if (setup.size == 0 || setup.size > kMaxQueueSize || !std::has_single_bit(setup.size))
    return make_error(Errc::kInvalidArgument, "a queue of {} entries", setup.size);
  GODWIT_TRY(check_area(memory, "descriptor table", setup.descriptors,
                        setup.size * kDescriptorBytes, kDescriptorBytes));
  GODWIT_TRY(
      check_area(memory, "available ring", setup.driver_area, available_bytes(setup.size), 2));
  return check_area(memory, "used ring", setup.device_area, used_bytes(setup.size), 4);
}

void Queue::start(const QueueSetup& setup, vmm::GuestMemory& memory, uint64_t features) {
  memory_ = &memory;
  size_ = setup.size;
  event_idx_ = (features & kEventIdx) != 0;
  indirect_ = (features & kIndirect) != 0;
  const auto area = [&](uint64_t address, uint64_t bytes) {
    const auto at = memory.at(Gpa{address}, ByteCount{bytes});
    GODWIT_CHECK(at.has_value(), "a queue that was not checked");
    return at->data();
  };
  descriptors_ = area(setup.descriptors, size_ * kDescriptorBytes);
  available_ = area(setup.driver_area, available_bytes(size_));
  used_ = area(setup.device_area, used_bytes(size_));
  used_gpa_ = Gpa{setup.device_area};
  error_.clear();
  start_at(0, 0, 0, false);
}

void Queue::start_at(uint16_t next_available, uint16_t next_used, uint16_t signalled_used,
                     bool ever_signalled) {
  next_available_ = next_available;
  next_used_ = published_used_ = next_used;
  signalled_used_ = signalled_used;
  ever_signalled_ = ever_signalled;
  started_ = true;
}

// Both rings are aligned to 2 at least.
uint16_t Queue::load16(const std::byte* at) const {
  auto* const value = reinterpret_cast<uint16_t*>(const_cast<std::byte*>(at));
  return std::atomic_ref<uint16_t>(*value).load(std::memory_order_acquire);
}

void Queue::store16(std::byte* at, Gpa gpa, uint16_t value) {
  std::atomic_ref<uint16_t>(*reinterpret_cast<uint16_t*>(at))
      .store(value, std::memory_order_release);
  memory_->mark_dirty(gpa, ByteCount{sizeof value});
}

uint16_t Queue::available_index() const {
  return load16(available_ + 2);
}

uint16_t Queue::waiting() const {
  if (!started_ || !error_.empty()) return 0;
  const auto ahead = static_cast<uint16_t>(available_index() - next_available_);
  return ahead > size_ ? uint16_t{0} : ahead;
}

Queue::Pop Queue::broken(std::string why) {
  error_ = std::move(why);
  return Pop::kBroken;
}

Queue::Pop Queue::pop(Chain& chain) {
  chain.readable.clear();
  chain.writable.clear();
  chain.readable_bytes = chain.writable_bytes = 0;
  if (!error_.empty()) return Pop::kBroken;
  if (!started_) return Pop::kEmpty;
  const uint16_t index = available_index();
  if (index == next_available_) return Pop::kEmpty;
  if (static_cast<uint16_t>(index - next_available_) > size_)
    return broken(fmt::format("the available index {} is more than {} ahead of {}", index, size_,
                              next_available_));
  const uint16_t slot = next_available_ & (size_ - 1);
  const uint16_t head = load16(available_ + kRingHead + uint64_t{slot} * 2);
  if (head >= size_)
    return broken(fmt::format("the available ring names descriptor {} of {}", head, size_));
  chain.head = head;
  uint32_t budget = size_;
  if (!walk(chain, descriptors_, size_, head, budget, false)) return Pop::kBroken;
  ++next_available_;
  return Pop::kChain;
}

bool Queue::walk(Chain& chain, const std::byte* table, uint32_t entries, uint32_t index,
                 uint32_t& budget, bool indirect) {
  for (;;) {
    if (index >= entries) {
      broken(fmt::format("a descriptor's next is {} of {}", index, entries));
      return false;
    }
    if (budget == 0) {
      broken(fmt::format("a chain has more than {} descriptors", size_));
      return false;
    }
    --budget;
    Descriptor descriptor;  // a copy: the guest may change it under us
    std::memcpy(&descriptor, table + uint64_t{index} * kDescriptorBytes, sizeof descriptor);
    if ((descriptor.flags & kDescIndirect) != 0) {
      if (indirect || !indirect_ || (descriptor.flags & kDescNext) != 0) {
        broken("an indirect descriptor where none may be");
        return false;
      }
      return follow_indirect(chain, descriptor, budget);
    }
    if (!add_buffer(chain, descriptor)) return false;
    if ((descriptor.flags & kDescNext) == 0) return true;
    index = descriptor.next;
  }
}

bool Queue::follow_indirect(Chain& chain, const Descriptor& descriptor, uint32_t& budget) {
  if (descriptor.length == 0 || descriptor.length % kDescriptorBytes != 0) {
    broken(fmt::format("an indirect table of {} bytes", descriptor.length));
    return false;
  }
  const auto table = memory_->at(Gpa{descriptor.address}, ByteCount{descriptor.length});
  if (!table) {
    broken(fmt::format("an indirect table at {:#x} ({} bytes) is not in RAM", descriptor.address,
                       descriptor.length));
    return false;
  }
  const auto entries = static_cast<uint32_t>(descriptor.length / kDescriptorBytes);
  return walk(chain, table->data(), entries, 0, budget, true);
}

bool Queue::add_buffer(Chain& chain, const Descriptor& descriptor) {
  const bool writable = (descriptor.flags & kDescWrite) != 0;
  if (!writable && !chain.writable.empty()) {
    broken("a readable buffer behind a writable one");
    return false;
  }
  if (descriptor.length == 0) return true;
  const auto bytes = memory_->at(Gpa{descriptor.address}, ByteCount{descriptor.length});
  if (!bytes) {
    broken(fmt::format("a buffer at {:#x} ({} bytes) is not in RAM", descriptor.address,
                       descriptor.length));
    return false;
  }
  uint64_t& sum = writable ? chain.writable_bytes : chain.readable_bytes;
  sum += descriptor.length;
  if (sum > kMaxChainBytes) {
    broken("a request of more than 4 GiB");
    return false;
  }
  auto& buffers = writable ? chain.writable : chain.readable;
  buffers.push_back({Gpa{descriptor.address}, *bytes});
  return true;
}

void Queue::push(const Chain& chain, uint32_t written) {
  uint64_t left = written;
  for (const Buffer& buffer : chain.writable) {
    const uint64_t part = std::min<uint64_t>(left, buffer.bytes.size());
    memory_->mark_dirty(buffer.gpa, ByteCount{part});
    left -= part;
  }
  push_head(chain.head, written);
}

void Queue::push_head(uint16_t head, uint32_t written) {
  const uint64_t offset = kRingHead + uint64_t{next_used_ & (size_ - 1u)} * kUsedElementBytes;
  const uint32_t element[2] = {head, written};
  std::memcpy(used_ + offset, element, sizeof element);
  memory_->mark_dirty(used_gpa_ + offset, ByteCount{sizeof element});
  ++next_used_;
}

bool Queue::publish() {
  if (next_used_ == published_used_) return false;
  published_used_ = next_used_;
  store16(used_ + 2, used_gpa_ + 2, next_used_);
  // The driver's wish is read after the index is seen: it does both in the other order.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (!event_idx_) return (load16(available_) & kAvailNoInterrupt) == 0;
  const uint16_t event = load16(available_ + kRingHead + uint64_t{size_} * 2);
  const auto since = static_cast<uint16_t>(next_used_ - signalled_used_);
  const bool wanted = !ever_signalled_ || static_cast<uint16_t>(next_used_ - event - 1) < since;
  signalled_used_ = next_used_;
  ever_signalled_ = true;
  return wanted;
}

bool Queue::enable_notifications() {
  if (!started_ || !error_.empty()) return false;
  if (event_idx_) {
    const uint64_t offset = kRingHead + uint64_t{size_} * kUsedElementBytes;
    store16(used_ + offset, used_gpa_ + offset, next_available_);
  } else {
    store16(used_, used_gpa_, 0);
  }
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (available_index() == next_available_) return false;
  disable_notifications();
  return true;
}

// With event indices there is nothing to do: the driver rings only as it passes the index.
void Queue::disable_notifications() {
  if (started_ && !event_idx_) store16(used_, used_gpa_, kUsedNoNotify);
}

}  // namespace godwit::devices::virtio
