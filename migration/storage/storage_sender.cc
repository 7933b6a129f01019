#include "migration/storage/storage_sender.h"

#include <lz4.h>

#include <algorithm>

#include "migration/page/zero.h"
#include "migration/transport/rate_limiter.h"
#include "migration/wire/xxh3.h"
#include "vmm/base/check.h"

namespace godwit::migration {
namespace {

using vmm::kStorageGranule;

// `bytes` begins at a multiple of a page's size, in memory that reaches up to one.
bool all_zero(std::span<const std::byte> bytes) {
  const size_t pages = bytes.size() / kPageSize;
  for (size_t i = 0; i < pages; ++i) {
    if (!is_zero_page(bytes.data() + i * kPageSize)) return false;
  }
  const auto rest = bytes.subspan(pages * kPageSize);
  return std::ranges::all_of(rest, [](std::byte b) { return b == std::byte{0}; });
}

// Calls f(first, count) for each run of neighbouring granules of the set, in order.
template <class F>
Result<> for_each_run(const vmm::DirtyBitmap& set, F&& f) {
  uint64_t first = 0;
  uint64_t count = 0;
  Result<> outcome;
  set.for_each([&](PageIndex granule) {
    if (!outcome) return;
    if (count != 0 && granule.value == first + count) {
      ++count;
      return;
    }
    if (count != 0) outcome = f(first, count);
    first = granule.value;
    count = 1;
  });
  if (outcome && count != 0) outcome = f(first, count);
  return outcome;
}

}  // namespace

StorageSender::StorageSender(std::vector<vmm::StorageVolume*> volumes, const Options& options)
    : volumes_(std::move(volumes)),
      options_(options),
      policy_(options.compression),
      chunk_(aligned_buffer(kMaxStorageChunk)),
      lz4_state_(new char[static_cast<size_t>(LZ4_sizeofState())]),
      encoded_(new std::byte[kMaxStorageChunk]) {}

StorageSender::~StorageSender() = default;

Result<> StorageSender::send_pass(Channel& channel, std::span<const vmm::DirtyBitmap> sets,
                                  uint32_t pass, bool last) {
  GODWIT_CHECK(sets.size() == volumes_.size(), "one set for each volume");
  pass_ = pass;
  for (size_t v = 0; v < sets.size(); ++v) {
    volume_ = static_cast<uint16_t>(v);
    const uint64_t size = volumes_[v]->description().size_bytes;
    GODWIT_TRY(for_each_run(sets[v], [&](uint64_t first, uint64_t count) {
      return send_stretch(channel, first * kStorageGranule,
                          std::min(size, (first + count) * kStorageGranule));
    }));
    GODWIT_TRY(send_zeroes(channel));
  }
  volume_ = 0;
  const auto end = last ? StorageFrameKind::kEndOfLastPass : StorageFrameKind::kEndOfPass;
  GODWIT_TRY(send_frame(channel, {.kind = end}, {}));
  return channel.flush();
}

Result<> StorageSender::send_stretch(Channel& channel, uint64_t from, uint64_t to) {
  while (from < to) {
    // Holes in steps of whole granules: what lies in one that holds data is read.
    const uint64_t data = volumes_[volume_]->next_data(from);
    const uint64_t hole = data >= to    ? to - from
                          : data > from ? (data - from) / kStorageGranule * kStorageGranule
                                        : 0;
    if (hole > 0) {
      GODWIT_TRY(add_zeroes(channel, from, hole));
      from += hole;
      continue;
    }
    const auto length = static_cast<size_t>(std::min<uint64_t>(to - from, kMaxStorageChunk));
    const std::span<std::byte> chunk(chunk_.get(), length);
    GODWIT_TRY(volumes_[volume_]->read(from, chunk));
    GODWIT_TRY(send_chunk(channel, from, chunk));
    from += length;
  }
  return {};
}

// Granules of zeroes are taken out; what lies between them goes in one piece.
Result<> StorageSender::send_chunk(Channel& channel, uint64_t offset,
                                   std::span<const std::byte> bytes) {
  size_t data_from = 0;
  for (size_t at = 0; at < bytes.size(); at += kStorageGranule) {
    const auto granule = bytes.subspan(at, std::min(kStorageGranule, bytes.size() - at));
    if (!all_zero(granule)) continue;
    GODWIT_TRY(send_data(channel, offset + data_from, bytes.subspan(data_from, at - data_from)));
    GODWIT_TRY(add_zeroes(channel, offset + at, granule.size()));
    data_from = at + granule.size();
  }
  return send_data(channel, offset + data_from, bytes.subspan(data_from));
}

Result<> StorageSender::send_data(Channel& channel, uint64_t offset,
                                  std::span<const std::byte> bytes) {
  if (bytes.empty()) return {};
  GODWIT_TRY(send_zeroes(channel));
  CompressionPolicy::Batch batch{
      .tried = policy_.next(), .raw_bytes = bytes.size(), .wire_bytes = bytes.size()};
  StorageFrame frame{.offset = offset, .length = bytes.size()};
  const TimePoint start = now();
  int encoded = 0;
  if (batch.tried == Codec::kLz4) {
    // Room for a little less than the input: what does not shrink is sent raw.
    encoded = LZ4_compress_fast_extState(
        lz4_state_.get(), reinterpret_cast<const char*>(bytes.data()),
        reinterpret_cast<char*>(encoded_.get()), static_cast<int>(bytes.size()),
        static_cast<int>(bytes.size() - bytes.size() / 16), 1);
  }
  std::span<const std::byte> payload = bytes;
  if (encoded > 0) {
    frame.codec = Codec::kLz4;
    payload = {encoded_.get(), static_cast<size_t>(encoded)};
    batch.wire_bytes = payload.size();
  }
  const TimePoint encoded_at = now();
  GODWIT_TRY(send_frame(channel, frame, payload));
  batch.encode = encoded_at - start;
  batch.send = now() - encoded_at;
  policy_.record(batch);
  data_bytes_.fetch_add(bytes.size(), std::memory_order_relaxed);
  return {};
}

Result<> StorageSender::add_zeroes(Channel& channel, uint64_t offset, uint64_t length) {
  zero_bytes_.fetch_add(length, std::memory_order_relaxed);
  if (zeroes_length_ != 0 && zeroes_from_ + zeroes_length_ == offset) {
    zeroes_length_ += length;
    return {};
  }
  GODWIT_TRY(send_zeroes(channel));
  zeroes_from_ = offset;
  zeroes_length_ = length;
  return {};
}

Result<> StorageSender::send_zeroes(Channel& channel) {
  if (zeroes_length_ == 0) return {};
  const StorageFrame frame{
      .kind = StorageFrameKind::kZeroes, .offset = zeroes_from_, .length = zeroes_length_};
  zeroes_length_ = 0;
  return send_frame(channel, frame, {});
}

Result<> StorageSender::send_frame(Channel& channel, StorageFrame frame,
                                   std::span<const std::byte> payload) {
  frame.volume = volume_;
  frame.pass = pass_;
  frame.payload_bytes = static_cast<uint32_t>(payload.size());
  if (options_.payload_checksums && !payload.empty())
    frame.payload_checksum = XXH3_64bits(payload.data(), payload.size());
  head_.clear();
  encode_storage_frame(frame, head_);
  const uint64_t bytes = head_.size() + payload.size();
  if (options_.limiter != nullptr) GODWIT_TRY(options_.limiter->acquire(bytes));
  wire_bytes_.fetch_add(bytes, std::memory_order_relaxed);
  const ConstBuffer buffers[] = {head_.view(), payload};
  return channel.send(std::span<const ConstBuffer>(buffers));
}

StorageCounts StorageSender::counts() const {
  return {data_bytes_.load(std::memory_order_relaxed), zero_bytes_.load(std::memory_order_relaxed),
          wire_bytes_.load(std::memory_order_relaxed)};
}

}  // namespace godwit::migration
