#include "migration/page/frame.h"

#include <xxhash.h>

#include <algorithm>
#include <bit>

namespace godwit::migration {
namespace {

constexpr uint32_t kFrameMagic = 0x46505747;  // "GWPF"
constexpr size_t kChecksumOffset = 32;

uint64_t head_checksum(std::span<const std::byte> head, std::span<const std::byte> groups) {
  const uint64_t seed = XXH3_64bits(head.data(), kChecksumOffset);
  return XXH3_64bits_withSeed(groups.data(), groups.size(), seed);
}

constexpr uint32_t kAckMagic = 0x41505747;  // "GWPA"

}  // namespace

std::array<std::byte, kAckBytes> encode_ack(uint32_t iteration) {
  ByteWriter out;
  out.u32(kAckMagic);
  out.u32(iteration);
  out.u64(XXH3_64bits(out.view().data(), out.size()));
  std::array<std::byte, kAckBytes> bytes{};
  std::ranges::copy(out.view(), bytes.begin());
  return bytes;
}

Result<uint32_t> decode_ack(std::span<const std::byte, kAckBytes> bytes) {
  ByteReader in(bytes, "acknowledgement of an iteration");
  const uint32_t magic = in.u32();
  const uint32_t iteration = in.u32();
  if (magic != kAckMagic || in.u64() != XXH3_64bits(bytes.data(), 8)) {
    return make_error(Errc::kCorrupt, "no acknowledgement where one was due (found {:#010x})",
                      magic);
  }
  return iteration;
}

void encode_frame(const FrameHeader& header, std::span<const PageGroup> groups, ByteWriter& out) {
  const size_t start = out.size();
  out.u32(kFrameMagic);
  out.u8(static_cast<uint8_t>(header.kind));
  out.u8(static_cast<uint8_t>(header.codec));
  out.u16(static_cast<uint16_t>(groups.size()));
  out.u32(header.iteration);
  out.u32(header.data_pages);
  out.u32(header.payload_bytes);
  out.u32(0);
  out.u64(header.payload_checksum);
  out.u64(0);
  for (const PageGroup& group : groups) {
    out.u64(group.index);
    out.u64(group.data);
    out.u64(group.zero);
  }
  const auto written = out.view().subspan(start);
  out.patch_u64(start + kChecksumOffset,
                head_checksum(written, written.subspan(kFrameHeaderBytes)));
}

Result<FrameHeader> decode_frame_header(std::span<const std::byte, kFrameHeaderBytes> bytes) {
  ByteReader in(bytes, "page frame");
  const uint32_t magic = in.u32();
  if (magic != kFrameMagic) {
    return make_error(Errc::kProtocol, "no page frame where one was due (found {:#010x})", magic);
  }
  FrameHeader h;
  const uint8_t kind = in.u8();
  const uint8_t codec = in.u8();
  h.groups = in.u16();
  h.iteration = in.u32();
  h.data_pages = in.u32();
  h.payload_bytes = in.u32();
  const uint32_t reserved = in.u32();
  h.payload_checksum = in.u64();
  if (kind != static_cast<uint8_t>(FrameKind::kPages) &&
      kind != static_cast<uint8_t>(FrameKind::kEndOfIteration)) {
    return make_error(Errc::kCorrupt, "page frame of unknown kind {}", kind);
  }
  h.kind = static_cast<FrameKind>(kind);
  if (codec > static_cast<uint8_t>(Codec::kLz4) || reserved != 0) {
    return make_error(Errc::kCorrupt, "page frame with unknown codec {}", codec);
  }
  h.codec = static_cast<Codec>(codec);
  const bool pages = h.kind == FrameKind::kPages;
  const size_t raw_bytes = h.data_pages * kPageSize;
  if (h.groups > (pages ? kMaxGroupsPerFrame : 0) || (pages && h.groups == 0) ||
      h.data_pages > (pages ? kMaxPagesPerFrame : 0)) {
    return make_error(Errc::kCorrupt, "page frame with {} groups and {} pages", h.groups,
                      h.data_pages);
  }
  const bool length_fits = h.codec == Codec::kRaw
                               ? h.payload_bytes == raw_bytes
                               : h.payload_bytes != 0 && h.payload_bytes < raw_bytes;
  if (!length_fits) {
    return make_error(Errc::kCorrupt, "page frame with {} bytes for {} pages", h.payload_bytes,
                      h.data_pages);
  }
  return h;
}

Result<> decode_groups(std::span<const std::byte, kFrameHeaderBytes> header_bytes,
                       const FrameHeader& header, std::span<const std::byte> bytes,
                       uint64_t guest_pages, std::vector<PageGroup>& groups) {
  ByteReader checksum_in(header_bytes.subspan(kChecksumOffset), "page frame");
  if (checksum_in.u64() != head_checksum(header_bytes, bytes)) {
    return make_error(Errc::kCorrupt, "page frame: the head has a wrong checksum");
  }
  groups.clear();
  ByteReader in(bytes, "page frame's groups");
  uint32_t data_pages = 0;
  for (uint32_t i = 0; i < header.groups && in.ok(); ++i) {
    const PageGroup g{in.u64(), in.u64(), in.u64()};
    const uint64_t all = g.data | g.zero;
    if ((g.data & g.zero) != 0 || all == 0 || (!groups.empty() && g.index <= groups.back().index)) {
      return make_error(Errc::kCorrupt, "page frame: group {} is malformed", g.index);
    }
    const uint64_t last = static_cast<uint64_t>(63 - std::countl_zero(all));
    if (g.index >= (guest_pages + 63) / 64 || g.index * 64 + last >= guest_pages) {
      return make_error(Errc::kCorrupt, "page frame: group {} reaches outside the guest's {} pages",
                        g.index, guest_pages);
    }
    data_pages += static_cast<uint32_t>(std::popcount(g.data));
    groups.push_back(g);
  }
  GODWIT_TRY(in.finish());
  if (data_pages != header.data_pages) {
    return make_error(Errc::kCorrupt, "page frame: {} pages announced, {} in the groups",
                      header.data_pages, data_pages);
  }
  return {};
}

}  // namespace godwit::migration
