// The POST code port 0x80: swallows what firmware reports there and what old drivers write to wait
// a moment; reads give the last code.
//
// State (section "post-port", version 1): u8 code.
#pragma once
#include <atomic>

#include "vmm/io/device.h"
#include "vmm/io/io_handler.h"

namespace godwit::devices {

inline constexpr uint64_t kPostPort = 0x80;
inline constexpr uint64_t kPostPorts = 1;

class PostPort final : public vmm::Device, public vmm::IoHandler {
 public:
  void read(uint64_t offset, std::span<std::byte> data) override;
  void write(uint64_t offset, std::span<const std::byte> data) override;

  [[nodiscard]] std::string_view type() const override { return "post-port"; }
  void save(ByteWriter& out) const override;
  Result<> load(ByteReader& in, uint16_t version) override;

 private:
  std::atomic<uint8_t> code_{0};  // guest-controlled
};

}  // namespace godwit::devices
