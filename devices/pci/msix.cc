#include "devices/pci/msix.h"

#include <algorithm>

namespace godwit::devices::pci {
namespace {

constexpr uint16_t kControlBits = kMsixEnable | kMsixMaskAll;

}  // namespace

bool Msix::masked_locked(const State::Entry& entry) const {
  return (control_ & kMsixMaskAll) != 0 || (entry.control & kMsixEntryMask) != 0;
}

void Msix::signal(uint16_t vector) {
  const std::lock_guard lock(mutex_);
  if (vector >= entries_.size() || (control_ & kMsixEnable) == 0) return;
  State::Entry& entry = entries_[vector];
  if (masked_locked(entry)) {
    entry.pending = true;
  } else {
    sink_.signal(entry.address, entry.data);
  }
}

void Msix::fire_pending_locked() {
  if ((control_ & kMsixEnable) == 0) return;
  for (State::Entry& entry : entries_) {
    if (!entry.pending || masked_locked(entry)) continue;
    entry.pending = false;
    sink_.signal(entry.address, entry.data);
  }
}

void Msix::read_table(uint64_t offset, std::span<std::byte> data) const {
  std::fill(data.begin(), data.end(), std::byte{0});
  if (offset % 4 != 0 || data.size() % 4 != 0) return;
  const std::lock_guard lock(mutex_);
  for (size_t at = 0; at < data.size(); at += 4) {
    const uint64_t index = (offset + at) / kMsixEntrySize;
    if (index >= entries_.size()) return;
    const State::Entry& entry = entries_[index];
    const uint32_t words[] = {static_cast<uint32_t>(entry.address),
                              static_cast<uint32_t>(entry.address >> 32), entry.data,
                              entry.control};
    const uint32_t word = words[(offset + at) % kMsixEntrySize / 4];
    for (size_t i = 0; i < 4; ++i) data[at + i] = static_cast<std::byte>(word >> (8 * i));
  }
}

void Msix::write_table(uint64_t offset, std::span<const std::byte> data) {
  if (offset % 4 != 0 || data.size() % 4 != 0) return;
  const std::lock_guard lock(mutex_);
  for (size_t at = 0; at < data.size(); at += 4) {
    const uint64_t index = (offset + at) / kMsixEntrySize;
    if (index >= entries_.size()) return;
    uint32_t word = 0;
    for (size_t i = 0; i < 4; ++i) word |= std::to_integer<uint32_t>(data[at + i]) << (8 * i);
    State::Entry& entry = entries_[index];
    switch ((offset + at) % kMsixEntrySize / 4) {
      case 0:
        entry.address = (entry.address & ~uint64_t{0xffffffff}) | (word & ~3u);
        break;
      case 1:
        entry.address = (entry.address & 0xffffffff) | uint64_t{word} << 32;
        break;
      case 2:
        entry.data = word;
        break;
      default:
        entry.control = word & kMsixEntryMask;
    }
  }
  fire_pending_locked();
}

void Msix::read_pending(uint64_t offset, std::span<std::byte> data) const {
  const std::lock_guard lock(mutex_);
  for (size_t i = 0; i < data.size(); ++i) {
    unsigned bits = 0;
    for (unsigned b = 0; b < 8; ++b) {
      const uint64_t vector = (offset + i) * 8 + b;
      if (vector < entries_.size() && entries_[vector].pending) bits |= 1u << b;
    }
    data[i] = static_cast<std::byte>(bits);
  }
}

void Msix::set_control(uint16_t control) {
  const std::lock_guard lock(mutex_);
  control_ = control & kControlBits;
  fire_pending_locked();
}

void Msix::save(ByteWriter& out) const {
  const std::lock_guard lock(mutex_);
  out.u16(control_);
  for (const State::Entry& entry : entries_) {
    out.u64(entry.address);
    out.u32(entry.data);
    out.u32(entry.control);
    out.u8(entry.pending ? 1 : 0);
  }
}

Result<Msix::State> Msix::read_state(ByteReader& in) const {
  State state;
  state.control = in.u16();
  bool good = (state.control & ~kControlBits) == 0;
  for (size_t i = 0; i < entries_.size(); ++i) {
    State::Entry entry{in.u64(), in.u32(), in.u32(), false};
    const uint8_t pending = in.u8();
    entry.pending = pending != 0;
    good =
        good && (entry.address & 3) == 0 && (entry.control & ~kMsixEntryMask) == 0 && pending < 2;
    state.entries.push_back(entry);
  }
  GODWIT_TRY(in.status());
  if (!good) return Error{Errc::kCorrupt, "the MSI-X table has bits that no guest can set"};
  return state;
}

void Msix::apply(State state) {
  const std::lock_guard lock(mutex_);
  control_ = state.control;
  entries_ = std::move(state.entries);
}

}  // namespace godwit::devices::pci
