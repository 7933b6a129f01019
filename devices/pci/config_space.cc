#include "devices/pci/config_space.h"

#include <algorithm>
#include <bit>

#include "vmm/base/check.h"

namespace godwit::devices::pci {
namespace {

void put16(std::array<uint8_t, 256>& bytes, uint32_t offset, uint16_t value) {
  bytes[offset] = static_cast<uint8_t>(value);
  bytes[offset + 1] = static_cast<uint8_t>(value >> 8);
}

void put32(std::array<uint8_t, 256>& bytes, uint32_t offset, uint32_t value) {
  put16(bytes, offset, static_cast<uint16_t>(value));
  put16(bytes, offset + 2, static_cast<uint16_t>(value >> 16));
}

}  // namespace

ConfigSpace::ConfigSpace(const Identity& identity) {
  put16(bytes_, kVendorId, identity.vendor);
  put16(bytes_, kDeviceId, identity.device);
  bytes_[kRevision] = identity.revision;
  for (unsigned i = 0; i < 3; ++i)
    bytes_[kClass + i] = static_cast<uint8_t>(identity.class_code >> (8 * i));
  put16(bytes_, kSubsystemVendor, identity.subsystem_vendor);
  put16(bytes_, kSubsystem, identity.subsystem);
  put16(writable_, kCommand, kCommandMemory | kCommandMaster | kCommandIntxOff);
  writable_[kInterruptLine] = 0xff;
}

void ConfigSpace::add_bar(unsigned index, uint32_t size, uint32_t address) {
  GODWIT_CHECK(index < kBars && size >= 4096 && std::has_single_bit(size), "a BAR that cannot be");
  bar_sizes_[index] = size;
  put32(bytes_, kBar0 + 4 * index, address);
  put32(writable_, kBar0 + 4 * index, ~(size - 1));
}

uint16_t ConfigSpace::add_capability(uint8_t id, std::span<const uint8_t> body,
                                     std::span<const uint8_t> writable) {
  const uint16_t offset = next_capability_;
  GODWIT_CHECK(offset + 2 + body.size() <= bytes_.size() && writable.size() <= body.size(),
               "no room for a PCI capability");
  bytes_[offset] = id;
  std::copy(body.begin(), body.end(), bytes_.begin() + offset + 2);
  std::copy(writable.begin(), writable.end(), writable_.begin() + offset + 2);
  bytes_[last_capability_ == 0 ? kCapabilities : last_capability_ + 1u] =
      static_cast<uint8_t>(offset);
  put16(bytes_, kStatus, kStatusCapabilities);
  last_capability_ = offset;
  next_capability_ = static_cast<uint16_t>((offset + 2 + body.size() + 3) & ~size_t{3});
  return offset;
}

void ConfigSpace::read(uint32_t offset, std::span<std::byte> data) const {
  for (size_t i = 0; i < data.size(); ++i)
    data[i] = offset + i < bytes_.size() ? std::byte{bytes_[offset + i]} : std::byte{0};
}

void ConfigSpace::write(uint32_t offset, std::span<const std::byte> data) {
  for (size_t i = 0; i < data.size() && offset + i < bytes_.size(); ++i) {
    const uint8_t mask = writable_[offset + i];
    uint8_t& byte = bytes_[offset + i];
    byte = static_cast<uint8_t>((byte & ~mask) | (std::to_integer<uint8_t>(data[i]) & mask));
  }
}

uint16_t ConfigSpace::get16(uint32_t offset) const {
  return static_cast<uint16_t>(bytes_[offset] | bytes_[offset + 1] << 8);
}

uint32_t ConfigSpace::get32(uint32_t offset) const {
  return get16(offset) | uint32_t{get16(offset + 2)} << 16;
}

void ConfigSpace::set32(uint32_t offset, uint32_t value) {
  put32(bytes_, offset, value);
}

ConfigSpace::Bar ConfigSpace::bar(unsigned index) const {
  return {get32(kBar0 + 4 * index), bar_sizes_[index]};
}

std::array<uint8_t, 256> ConfigSpace::writable_bits() const {
  std::array<uint8_t, 256> bits;
  for (size_t i = 0; i < bits.size(); ++i) bits[i] = bytes_[i] & writable_[i];
  return bits;
}

void ConfigSpace::set_writable_bits(const std::array<uint8_t, 256>& bits) {
  for (size_t i = 0; i < bits.size(); ++i)
    bytes_[i] = static_cast<uint8_t>((bytes_[i] & ~writable_[i]) | (bits[i] & writable_[i]));
}

}  // namespace godwit::devices::pci
