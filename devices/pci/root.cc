#include "devices/pci/root.h"

#include <algorithm>

#include "vmm/base/check.h"
#include "vmm/boot/boot_layout.h"

namespace godwit::devices::pci {
namespace {

// A host bridge that no driver binds to.
constexpr Identity kBridge{.vendor = 0x1b36,
                           .device = 0x0008,
                           .class_code = 0x060000,
                           .subsystem_vendor = 0x1af4,
                           .subsystem = 0x1100};
// What the address register keeps: enable, bus, device, function, register.
constexpr uint32_t kAddressBits = kConfigEnable | 0x00fffffc;

void fill_ones(std::span<std::byte> data) {
  std::fill(data.begin(), data.end(), std::byte{0xff});
}

// The widest aligned piece at `offset` that is not longer than `left`.
size_t piece(uint64_t offset, size_t left) {
  if (offset % 4 == 0 && left >= 4) return 4;
  return offset % 2 == 0 && left >= 2 ? 2 : 1;
}

}  // namespace

Root::Root() : bridge_(kBridge) {}

void Root::add(unsigned slot, Function& function) {
  GODWIT_CHECK(slot > 0 && slot < kSlots && functions_[slot] == nullptr, "PCI slot taken");
  functions_[slot] = &function;
}

void Root::attach(vmm::IoBus& ports, vmm::IoBus& memory) {
  ports.attach(kConfigPort, kConfigPorts, ports_);
  memory.attach(vmm::kPciEcam.value, vmm::kPciEcamSize.value, ecam_);
  memory.attach(vmm::kPciWindow.value, vmm::kPciWindowSize.value, window_);
}

void Root::read_config(uint64_t ecam_offset, std::span<std::byte> data) {
  const uint64_t slot = ecam_offset >> kEcamSlotShift;
  const uint64_t function = ecam_offset >> kEcamFunctionShift & 7;
  const auto offset = static_cast<uint32_t>(ecam_offset & 0xfff);
  if (slot >= kSlots || function != 0) return fill_ones(data);
  if (slot == 0) return bridge_.read(offset, data);
  if (functions_[slot] == nullptr) return fill_ones(data);
  for (size_t at = 0; at < data.size();) {
    const size_t n = piece(offset + at, data.size() - at);
    functions_[slot]->read_config(static_cast<uint32_t>(offset + at), data.subspan(at, n));
    at += n;
  }
}

// The bridge has nothing that a guest would set.
void Root::write_config(uint64_t ecam_offset, std::span<const std::byte> data) {
  const uint64_t slot = ecam_offset >> kEcamSlotShift;
  const uint64_t function = ecam_offset >> kEcamFunctionShift & 7;
  const auto offset = static_cast<uint32_t>(ecam_offset & 0xfff);
  if (slot == 0 || slot >= kSlots || function != 0 || functions_[slot] == nullptr) return;
  for (size_t at = 0; at < data.size();) {
    const size_t n = piece(offset + at, data.size() - at);
    functions_[slot]->write_config(static_cast<uint32_t>(offset + at), data.subspan(at, n));
    at += n;
  }
}

// Configuration mechanism #1: bus in bits 16..23, device 11..15, function 8..10, register 2..7.
bool Root::Ports::target(uint64_t port_offset, uint64_t& ecam_offset) const {
  const uint32_t address = root.address_.load(std::memory_order_relaxed);
  if (port_offset < 4 || (address & kConfigEnable) == 0 || (address >> 16 & 0xff) != 0)
    return false;
  ecam_offset = uint64_t{address >> 11 & 0x1f} << kEcamSlotShift |
                uint64_t{address >> 8 & 7} << kEcamFunctionShift | (address & 0xfc) |
                (port_offset & 3);
  return true;
}

void Root::Ports::read(uint64_t offset, std::span<std::byte> data) {
  if (offset == 0 && data.size() == 4) {
    const uint32_t address = root.address_.load(std::memory_order_relaxed);
    for (size_t i = 0; i < 4; ++i) data[i] = static_cast<std::byte>(address >> (8 * i));
    return;
  }
  uint64_t at = 0;
  if (!target(offset, at)) return fill_ones(data);
  root.read_config(at, data);
}

void Root::Ports::write(uint64_t offset, std::span<const std::byte> data) {
  if (offset == 0 && data.size() == 4) {
    uint32_t address = 0;
    for (size_t i = 0; i < 4; ++i) address |= std::to_integer<uint32_t>(data[i]) << (8 * i);
    root.address_.store(address & kAddressBits, std::memory_order_relaxed);
    return;
  }
  uint64_t at = 0;
  if (target(offset, at)) root.write_config(at, data);
}

void Root::Ecam::read(uint64_t offset, std::span<std::byte> data) {
  root.read_config(offset, data);
}

void Root::Ecam::write(uint64_t offset, std::span<const std::byte> data) {
  root.write_config(offset, data);
}

void Root::Window::read(uint64_t offset, std::span<std::byte> data) {
  for (Function* function : root.functions_) {
    if (function != nullptr && function->read_memory(vmm::kPciWindow.value + offset, data)) return;
  }
  fill_ones(data);
}

void Root::Window::write(uint64_t offset, std::span<const std::byte> data) {
  for (Function* function : root.functions_) {
    if (function != nullptr && function->write_memory(vmm::kPciWindow.value + offset, data)) return;
  }
}

void Root::save(ByteWriter& out) const {
  out.u32(address_.load(std::memory_order_relaxed));
}

Result<> Root::load(ByteReader& in, uint16_t) {
  const uint32_t address = in.u32();
  GODWIT_TRY(in.finish());
  if ((address & ~kAddressBits) != 0)
    return make_error(Errc::kCorrupt, "pci-root: the address register cannot hold {:#x}", address);
  address_.store(address, std::memory_order_relaxed);
  return {};
}

}  // namespace godwit::devices::pci
