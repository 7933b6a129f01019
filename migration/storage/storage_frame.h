// The unit in which the content of disks travels: a stretch of one volume, or the end of a pass.
// Byte table: ../PROTOCOL.md.
#pragma once
#include <array>
#include <cstdint>
#include <span>

#include "migration/page/frame.h"
#include "vmm/base/byte_io.h"
#include "vmm/base/clock.h"
#include "vmm/base/error.h"
#include "vmm/storage.h"

namespace godwit::migration {

inline constexpr uint32_t kMaxStorageChunk = 1u << 20;
inline constexpr size_t kStorageFrameBytes = 48;

enum class StorageFrameKind : uint8_t {
  kData = 1,          // `length` bytes follow, encoded as `codec` says
  kZeroes = 2,        // `length` bytes are zero; nothing follows
  kEndOfPass = 3,     // another pass follows, perhaps
  kEndOfLastPass = 4  // none: the guest stands still
};

struct StorageFrame {
  StorageFrameKind kind = StorageFrameKind::kData;
  Codec codec = Codec::kRaw;
  uint16_t volume = 0;  // by its place in MACHINE
  uint32_t pass = 0;    // 1 is the first
  uint32_t payload_bytes = 0;
  uint64_t offset = 0;  // bytes of the volume
  uint64_t length = 0;
  // XXH3-64 of the payload as sent; 0 where the transport authenticates.
  uint64_t payload_checksum = 0;
};

void encode_storage_frame(const StorageFrame& frame, ByteWriter& out);
// Checks everything: the caps, and that the stretch lies in one of the volumes, whose sizes are
// `sizes`.
Result<StorageFrame> decode_storage_frame(std::span<const std::byte, kStorageFrameBytes> bytes,
                                          std::span<const uint64_t> sizes);

// What the target answers to the end of a pass, once all of it is on its disks for good.
struct StorageAck {
  uint32_t pass = 0;
  Nanoseconds flush{};  // how long that took
};
inline constexpr size_t kStorageAckBytes = 24;
std::array<std::byte, kStorageAckBytes> encode_storage_ack(const StorageAck& ack);
Result<StorageAck> decode_storage_ack(std::span<const std::byte, kStorageAckBytes> bytes);

}  // namespace godwit::migration
