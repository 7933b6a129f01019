// The debug-exit port, as QEMU's isa-debug-exit: a write of 1, 2 or 4 bytes to port 0xf4 ends the
// VMM. The code is handed on as written; the command that runs the VMM makes its exit status
// (code << 1) | 1 of it, so that it differs from a clean end (0) for every code. Reads give zero.
//
// State (section "debug-exit", version 1): none, no bytes.
#pragma once
#include "vmm/io/device.h"
#include "vmm/io/io_handler.h"

namespace godwit::devices {

inline constexpr uint64_t kDebugExitPort = 0xf4;
inline constexpr uint64_t kDebugExitPorts = 4;

class DebugExit final : public vmm::Device, public vmm::IoHandler {
 public:
  explicit DebugExit(vmm::GuestEvents& events) : events_(events) {}

  void read(uint64_t offset, std::span<std::byte> data) override;
  // Only at offset 0; elsewhere ignored.
  void write(uint64_t offset, std::span<const std::byte> data) override;

  [[nodiscard]] std::string_view type() const override { return "debug-exit"; }
  void save(ByteWriter&) const override {}
  Result<> load(ByteReader& in, uint16_t version) override;

 private:
  vmm::GuestEvents& events_;
};

}  // namespace godwit::devices
