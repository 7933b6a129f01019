#include "migration/page/page_sender.h"

#include <lz4.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "migration/page/free_pages.h"
#include "migration/page/zero.h"
#include "migration/transport/rate_limiter.h"
#include "migration/wire/xxh3.h"

namespace godwit::migration {

PageSender::PageSender(const vmm::GuestMemory& memory, const Options& options)
    : memory_(memory),
      options_(options),
      policy_(options.compression),
      staging_(new std::byte[kMaxPayloadBytes]),
      lz4_state_(new char[static_cast<size_t>(LZ4_sizeofState())]),
      encoded_(new std::byte[kMaxPayloadBytes]) {
  groups_.reserve(kMaxGroupsPerFrame);
  buffers_.reserve(1 + kMaxPagesPerFrame);
  head_.reserve(kFrameHeaderBytes + kMaxGroupsPerFrame * kGroupBytes);
}

PageSender::~PageSender() = default;

Result<> PageSender::send_iteration(Channel& channel, const vmm::DirtyBitmap& pages,
                                    uint32_t iteration, Shard shard, Flush flush, FreePages* free) {
  iteration_ = iteration;
  const auto words = pages.words();
  const uint64_t step = kStripeGroups * shard.count;
  for (uint64_t stripe = shard.index * kStripeGroups; stripe < words.size(); stripe += step) {
    const uint64_t end = std::min<uint64_t>(stripe + kStripeGroups, words.size());
    for (uint64_t group = stripe; group < end; ++group) {
      if (words[group] == 0) continue;
      const uint64_t wanted = free == nullptr ? words[group] : free->leave_out(group, words[group]);
      counts_.free += static_cast<uint64_t>(std::popcount(words[group] ^ wanted));
      if (wanted != 0) GODWIT_TRY(add_group(channel, group, wanted));
    }
  }
  GODWIT_TRY(send_frame(channel));
  live_.publish(counts_);
  head_.clear();
  encode_frame({.kind = FrameKind::kEndOfIteration, .iteration = iteration}, {}, head_);
  GODWIT_TRY(channel.send(ConstBuffer(head_.view())));
  if (flush == Flush::kYes) return channel.flush();
  return {};
}

Result<> PageSender::add_group(Channel& channel, uint64_t group, uint64_t pages) {
  // A frame takes whole groups, so it is sent before it could overflow.
  const auto most = static_cast<uint32_t>(std::popcount(pages));
  if (groups_.size() == kMaxGroupsPerFrame || data_pages_ + most > kMaxPagesPerFrame) {
    GODWIT_TRY(send_frame(channel));
  }
  classify(group, pages);
  return {};
}

void PageSender::classify(uint64_t group, uint64_t pages) {
  PageGroup g{group, 0, 0};
  for (uint64_t bits = pages; bits != 0; bits &= bits - 1) {
    const auto bit = static_cast<uint64_t>(std::countr_zero(bits));
    const bool zero = is_zero_page(memory_.page(PageIndex{group * kPagesPerGroup + bit}));
    (zero ? g.zero : g.data) |= uint64_t{1} << bit;
  }
  data_pages_ += static_cast<uint32_t>(std::popcount(g.data));
  counts_.duplicate += static_cast<uint64_t>(std::popcount(g.zero));
  groups_.push_back(g);
}

// Copies the frame's pages behind one another: from here on their bytes stand still, which a
// checksum and LZ4 (whose matches reach from one page into another) need.
size_t PageSender::stage() {
  std::byte* to = staging_.get();
  for_each_run(groups_, [&](PageIndex first, uint64_t count) {
    std::memcpy(to, memory_.page(first), count * kPageSize);
    to += count * kPageSize;
  });
  return static_cast<size_t>(to - staging_.get());
}

Result<> PageSender::send_frame(Channel& channel) {
  if (groups_.empty()) return {};
  const size_t raw_bytes = data_pages_ * kPageSize;
  CompressionPolicy::Batch batch{
      .tried = policy_.next(), .raw_bytes = raw_bytes, .wire_bytes = raw_bytes};
  const TimePoint start = now();
  int encoded_bytes = 0;
  std::span<const std::byte> staged;
  if (data_pages_ != 0 && (options_.payload_checksums || batch.tried == Codec::kLz4)) {
    staged = {staging_.get(), stage()};
  }
  if (data_pages_ != 0 && batch.tried == Codec::kLz4) {
    // Room for a little less than the input: what does not shrink is sent raw.
    encoded_bytes = LZ4_compress_fast_extState(
        lz4_state_.get(), reinterpret_cast<const char*>(staging_.get()),
        reinterpret_cast<char*>(encoded_.get()), static_cast<int>(raw_bytes),
        static_cast<int>(raw_bytes - raw_bytes / 16), 1);
  }
  const TimePoint encoded_at = now();
  if (encoded_bytes > 0) {
    const auto size = static_cast<size_t>(encoded_bytes);
    batch.wire_bytes = size;
    counts_.lz4_pages += data_pages_;
    counts_.lz4_bytes_in += raw_bytes;
    counts_.lz4_bytes_out += size;
    GODWIT_TRY(send_encoded(channel, {encoded_.get(), size}, Codec::kLz4));
  } else {
    GODWIT_TRY(send_raw(channel, staged));
  }
  batch.encode = encoded_at - start;
  batch.send = now() - encoded_at;
  policy_.record(batch);
  counts_.normal += data_pages_;
  ++counts_.frames;
  live_.publish(counts_);
  groups_.clear();
  data_pages_ = 0;
  return {};
}

Result<> PageSender::pace(size_t wire_bytes) {
  counts_.wire_bytes += wire_bytes;
  if (options_.limiter == nullptr) return {};
  return options_.limiter->acquire(wire_bytes);
}

Result<> PageSender::send_raw(Channel& channel, std::span<const std::byte> staged) {
  if (!staged.empty() || data_pages_ == 0) return send_encoded(channel, staged, Codec::kRaw);
  // The transport authenticates what it is given at that moment: straight from guest memory.
  head_.clear();
  encode_frame({.codec = Codec::kRaw,
                .iteration = iteration_,
                .data_pages = data_pages_,
                .payload_bytes = static_cast<uint32_t>(data_pages_ * kPageSize)},
               groups_, head_);
  collect_runs();
  GODWIT_TRY(pace(head_.size() + data_pages_ * kPageSize));
  return channel.send(std::span<const ConstBuffer>(buffers_));
}

// head_, then the frame's pages in guest memory, neighbours as one buffer.
void PageSender::collect_runs() {
  buffers_.clear();
  buffers_.push_back(head_.view());
  for_each_run(groups_, [&](PageIndex first, uint64_t count) {
    buffers_.emplace_back(memory_.page(first), count * kPageSize);
  });
}

Result<> PageSender::send_encoded(Channel& channel, std::span<const std::byte> payload,
                                  Codec codec) {
  head_.clear();
  const uint64_t checksum = options_.payload_checksums && !payload.empty()
                                ? XXH3_64bits(payload.data(), payload.size())
                                : 0;
  encode_frame({.codec = codec,
                .iteration = iteration_,
                .data_pages = data_pages_,
                .payload_bytes = static_cast<uint32_t>(payload.size()),
                .payload_checksum = checksum},
               groups_, head_);
  GODWIT_TRY(pace(head_.size() + payload.size()));
  const ConstBuffer buffers[] = {head_.view(), payload};
  return channel.send(std::span<const ConstBuffer>(buffers));
}

}  // namespace godwit::migration
