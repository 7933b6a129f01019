// The unit in which pages travel: up to 64 pages of content and any number of zero pages from up to
// 64 groups. A group is 64 neighbouring pages, one word of a dirty bitmap. Byte table: PROTOCOL.md.
#pragma once
#include <array>
#include <bit>
#include <cstdint>
#include <span>
#include <vector>

#include "vmm/base/byte_io.h"
#include "vmm/base/error.h"
#include "vmm/base/types.h"

namespace godwit::migration {

inline constexpr uint32_t kPagesPerGroup = 64;
inline constexpr uint32_t kMaxGroupsPerFrame = 64;
inline constexpr uint32_t kMaxPagesPerFrame = 64;
inline constexpr size_t kMaxPayloadBytes = kMaxPagesPerFrame * kPageSize;  // 256 KiB
inline constexpr size_t kFrameHeaderBytes = 40;
inline constexpr size_t kGroupBytes = 24;

enum class FrameKind : uint8_t { kPages = 1, kEndOfIteration = 2 };
enum class Codec : uint8_t { kRaw = 0, kLz4 = 1 };

struct PageGroup {
  uint64_t index = 0;  // first page / 64
  uint64_t data = 0;   // bit i: page i has its content in the payload
  uint64_t zero = 0;   // bit i: page i is all zero; disjoint from data
};

// Groups ascend by index. The payload holds the data pages in that order, encoded as one block.
struct FrameHeader {
  FrameKind kind = FrameKind::kPages;
  Codec codec = Codec::kRaw;
  uint16_t groups = 0;
  uint32_t iteration = 0;
  uint32_t data_pages = 0;
  uint32_t payload_bytes = 0;
  uint64_t payload_checksum =
      0;  // XXH3-64 of the payload as sent; 0 where the transport authenticates
};

// Calls f(PageIndex first, uint64_t count) for each run of neighbouring data pages, in payload
// order.
template <class F>
void for_each_run(std::span<const PageGroup> groups, F&& f) {
  for (const PageGroup& g : groups) {
    uint64_t bits = g.data;
    uint64_t page = g.index * kPagesPerGroup;
    while (bits != 0) {
      const auto gap = static_cast<uint64_t>(std::countr_zero(bits));
      const auto length = static_cast<uint64_t>(std::countr_one(bits >> gap));
      f(PageIndex{page + gap}, length);
      const uint64_t past = gap + length;
      page += past;
      bits = past == 64 ? 0 : bits >> past;
    }
  }
}

// What the receiver of an iteration answers on the same connection, once all of it is in memory.
inline constexpr size_t kAckBytes = 16;
std::array<std::byte, kAckBytes> encode_ack(uint32_t iteration);
Result<uint32_t> decode_ack(std::span<const std::byte, kAckBytes> bytes);

// Appends header and groups to `out`.
void encode_frame(const FrameHeader& header, std::span<const PageGroup> groups, ByteWriter& out);

// Checks everything that the fixed part alone tells: kind, codec, caps.
Result<FrameHeader> decode_frame_header(std::span<const std::byte, kFrameHeaderBytes> bytes);
// Reads the groups into `groups` (replaced) and checks checksum, order, disjointness, page count
// and that every page lies below `guest_pages`.
Result<> decode_groups(std::span<const std::byte, kFrameHeaderBytes> header_bytes,
                       const FrameHeader& header, std::span<const std::byte> bytes,
                       uint64_t guest_pages, std::vector<PageGroup>& groups);

}  // namespace godwit::migration
