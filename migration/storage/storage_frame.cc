#include "migration/storage/storage_frame.h"

#include <algorithm>

#include "migration/wire/xxh3.h"

namespace godwit::migration {
namespace {

constexpr uint32_t kFrameMagic = 0x46535747;  // "GWSF"
constexpr uint32_t kAckMagic = 0x41535747;    // "GWSA"
// A flush that took longer is not believed.
constexpr int64_t kLongestFlush = Nanoseconds(std::chrono::hours(24)).count();

bool is_end(const StorageFrame& frame) {
  return frame.kind == StorageFrameKind::kEndOfPass ||
         frame.kind == StorageFrameKind::kEndOfLastPass;
}

Result<> check_payload(const StorageFrame& frame) {
  const bool data = frame.kind == StorageFrameKind::kData;
  bool fits = frame.payload_bytes == 0;
  if (data && frame.codec == Codec::kRaw) fits = frame.payload_bytes == frame.length;
  if (data && frame.codec == Codec::kLz4)
    fits = frame.payload_bytes > 0 && frame.payload_bytes < frame.length;
  if (fits && (!data || frame.length <= kMaxStorageChunk)) return {};
  return make_error(Errc::kCorrupt, "storage frame: {} bytes for {} bytes of a disk",
                    frame.payload_bytes, frame.length);
}

Result<> check_place(const StorageFrame& frame, std::span<const uint64_t> sizes) {
  if (is_end(frame)) {
    if (frame.volume == 0 && frame.offset == 0 && frame.length == 0) return {};
    return Error{Errc::kCorrupt, "storage frame: an end of a pass with a place"};
  }
  if (frame.volume >= sizes.size()) {
    return make_error(Errc::kCorrupt, "storage frame: volume {}, of {}", frame.volume,
                      sizes.size());
  }
  const uint64_t size = sizes[frame.volume];
  if (frame.length == 0 || frame.offset > size || frame.length > size - frame.offset ||
      frame.offset % vmm::kStorageGranule != 0) {
    return make_error(Errc::kCorrupt,
                      "storage frame: {} bytes at {} of volume {}, which has {} bytes",
                      frame.length, frame.offset, frame.volume, size);
  }
  return {};
}

}  // namespace

void encode_storage_frame(const StorageFrame& frame, ByteWriter& out) {
  const size_t start = out.size();
  out.u32(kFrameMagic);
  out.u8(static_cast<uint8_t>(frame.kind));
  out.u8(static_cast<uint8_t>(frame.codec));
  out.u16(frame.volume);
  out.u32(frame.pass);
  out.u32(frame.payload_bytes);
  out.u64(frame.offset);
  out.u64(frame.length);
  out.u64(frame.payload_checksum);
  const auto covered = out.view().subspan(start);
  out.u64(XXH3_64bits(covered.data(), covered.size()));
}

Result<StorageFrame> decode_storage_frame(std::span<const std::byte, kStorageFrameBytes> bytes,
                                          std::span<const uint64_t> sizes) {
  ByteReader in(bytes, "storage frame");
  const uint32_t magic = in.u32();
  const uint8_t kind = in.u8();
  const uint8_t codec = in.u8();
  StorageFrame frame;
  frame.volume = in.u16();
  frame.pass = in.u32();
  frame.payload_bytes = in.u32();
  frame.offset = in.u64();
  frame.length = in.u64();
  frame.payload_checksum = in.u64();
  const size_t covered = in.position();
  const uint64_t checksum = in.u64();
  GODWIT_TRY(in.finish());
  if (magic != kFrameMagic) {
    return make_error(Errc::kCorrupt, "no storage frame where one was due (found {:#010x})", magic);
  }
  if (checksum != XXH3_64bits(bytes.data(), covered)) {
    return Error{Errc::kCorrupt, "storage frame: its head has a wrong checksum"};
  }
  if (kind < 1 || kind > static_cast<uint8_t>(StorageFrameKind::kEndOfLastPass) ||
      codec > static_cast<uint8_t>(Codec::kLz4)) {
    return make_error(Errc::kProtocol, "storage frame: unknown kind {} or codec {}", kind, codec);
  }
  frame.kind = static_cast<StorageFrameKind>(kind);
  frame.codec = static_cast<Codec>(codec);
  GODWIT_TRY(check_payload(frame));
  GODWIT_TRY(check_place(frame, sizes));
  return frame;
}

std::array<std::byte, kStorageAckBytes> encode_storage_ack(const StorageAck& ack) {
  ByteWriter out;
  out.u32(kAckMagic);
  out.u32(ack.pass);
  out.i64(ack.flush.count());
  out.u64(XXH3_64bits(out.view().data(), out.size()));
  std::array<std::byte, kStorageAckBytes> bytes{};
  std::ranges::copy(out.view(), bytes.begin());
  return bytes;
}

Result<StorageAck> decode_storage_ack(std::span<const std::byte, kStorageAckBytes> bytes) {
  ByteReader in(bytes, "storage acknowledgement");
  const uint32_t magic = in.u32();
  StorageAck ack{.pass = in.u32()};
  const int64_t flush = in.i64();
  const size_t covered = in.position();
  const uint64_t checksum = in.u64();
  GODWIT_TRY(in.finish());
  if (magic != kAckMagic || checksum != XXH3_64bits(bytes.data(), covered)) {
    return Error{Errc::kCorrupt, "storage acknowledgement: wrong magic or checksum"};
  }
  if (flush < 0 || flush > kLongestFlush) {
    return make_error(Errc::kCorrupt, "storage acknowledgement: a flush of {} ns", flush);
  }
  ack.flush = Nanoseconds(flush);
  return ack;
}

}  // namespace godwit::migration
