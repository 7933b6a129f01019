#include "migration/storage/storage_receiver.h"

#include <lz4.h>

#include "migration/wire/xxh3.h"

namespace godwit::migration {
namespace {

constexpr Nanoseconds kIdleWait = std::chrono::hours(1);

}  // namespace

StorageReceiver::StorageReceiver(std::vector<vmm::StorageVolume*> volumes, bool payload_checksums)
    : volumes_(std::move(volumes)),
      payload_checksums_(payload_checksums),
      unflushed_(volumes_.size()),
      encoded_(new std::byte[kMaxStorageChunk]),
      chunk_(aligned_buffer(kMaxStorageChunk)) {
  for (const vmm::StorageVolume* volume : volumes_)
    sizes_.push_back(volume->description().size_bytes);
}

StorageReceiver::~StorageReceiver() = default;

Result<bool> StorageReceiver::receive_pass(Channel& channel, uint32_t pass) {
  for (;;) {
    GODWIT_ASSIGN(const StorageFrame frame, receive_frame(channel, pass));
    switch (frame.kind) {
      case StorageFrameKind::kData:
        GODWIT_TRY(receive_data(channel, frame));
        unflushed_[frame.volume] = true;
        continue;
      case StorageFrameKind::kZeroes:
        GODWIT_TRY(volumes_[frame.volume]->write_zeroes(frame.offset, frame.length));
        unflushed_[frame.volume] = true;
        continue;
      case StorageFrameKind::kEndOfPass:
      case StorageFrameKind::kEndOfLastPass:
        break;
    }
    const TimePoint start = now();
    GODWIT_TRY(flush());
    const auto ack = encode_storage_ack({.pass = pass, .flush = now() - start});
    GODWIT_TRY(channel.send(ConstBuffer(ack)));
    GODWIT_TRY(channel.flush());
    return frame.kind == StorageFrameKind::kEndOfLastPass;
  }
}

Result<StorageFrame> StorageReceiver::receive_frame(Channel& channel, uint32_t pass) {
  for (;;) {
    GODWIT_ASSIGN(const bool readable, channel.wait_readable(kIdleWait));
    if (readable) break;
  }
  std::array<std::byte, kStorageFrameBytes> head;
  GODWIT_TRY(channel.receive(MutableBuffer(head)));
  GODWIT_ASSIGN(const StorageFrame frame, decode_storage_frame(head, sizes_));
  if (frame.pass == pass) return frame;
  return make_error(Errc::kProtocol, "storage frame of pass {} came in pass {}", frame.pass, pass);
}

Result<> StorageReceiver::receive_data(Channel& channel, const StorageFrame& frame) {
  const bool packed = frame.codec == Codec::kLz4;
  const MutableBuffer payload(packed ? encoded_.get() : chunk_.get(), frame.payload_bytes);
  GODWIT_TRY(channel.receive(payload));
  if (payload_checksums_ && XXH3_64bits(payload.data(), payload.size()) != frame.payload_checksum) {
    return Error{Errc::kCorrupt, "storage frame: the content has a wrong checksum"};
  }
  if (packed) {
    const int decoded = LZ4_decompress_safe(
        reinterpret_cast<const char*>(payload.data()), reinterpret_cast<char*>(chunk_.get()),
        static_cast<int>(payload.size()), static_cast<int>(frame.length));
    if (decoded < 0 || static_cast<uint64_t>(decoded) != frame.length) {
      return make_error(Errc::kCorrupt, "storage frame: {} bytes of LZ4 do not decode to {} bytes",
                        frame.payload_bytes, frame.length);
    }
  }
  const auto length = static_cast<size_t>(frame.length);
  GODWIT_TRY(volumes_[frame.volume]->write(frame.offset, {chunk_.get(), length}));
  bytes_written_.fetch_add(length, std::memory_order_relaxed);
  return {};
}

Result<> StorageReceiver::flush() {
  for (size_t v = 0; v < volumes_.size(); ++v) {
    if (!unflushed_[v]) continue;
    GODWIT_TRY(volumes_[v]->flush());
    unflushed_[v] = false;
  }
  return {};
}

}  // namespace godwit::migration
