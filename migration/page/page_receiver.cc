#include "migration/page/page_receiver.h"

#include <lz4.h>

#include <bit>
#include <cstring>

#include "migration/page/zero.h"
#include "migration/wire/xxh3.h"

namespace godwit::migration {
namespace {

constexpr Nanoseconds kIdleWait = std::chrono::hours(1);

Error payload_corrupt() {
  return Error{Errc::kCorrupt, "page frame: the content has a wrong checksum"};
}

}  // namespace

PageReceiver::PageReceiver(vmm::GuestMemory& memory, vmm::DirtyBitmap& populated,
                           bool payload_checksums)
    : memory_(memory),
      populated_(populated),
      payload_checksums_(payload_checksums),
      encoded_(new std::byte[kMaxPayloadBytes]),
      decoded_(new std::byte[kMaxPayloadBytes]) {
  groups_.reserve(kMaxGroupsPerFrame);
  group_bytes_.reserve(kMaxGroupsPerFrame * kGroupBytes);
  runs_.reserve(kMaxPagesPerFrame);
}

PageReceiver::~PageReceiver() = default;

Result<> PageReceiver::receive_iteration(Channel& channel, uint32_t iteration) {
  for (;;) {
    for (;;) {
      GODWIT_ASSIGN(const bool readable, channel.wait_readable(kIdleWait));
      if (readable) break;
    }
    GODWIT_TRY(channel.receive(MutableBuffer(header_bytes_)));
    GODWIT_ASSIGN(const FrameHeader header, decode_frame_header(header_bytes_));
    group_bytes_.resize(header.groups * kGroupBytes);
    if (header.groups != 0) GODWIT_TRY(channel.receive(MutableBuffer(group_bytes_)));
    GODWIT_TRY(decode_groups(header_bytes_, header, group_bytes_, memory_.page_count(), groups_));
    if (header.iteration != iteration) {
      return make_error(Errc::kProtocol, "page frame of iteration {} came in iteration {}",
                        header.iteration, iteration);
    }
    if (header.kind == FrameKind::kEndOfIteration) return {};
    GODWIT_TRY(receive_frame(channel, header));
  }
}

Result<> PageReceiver::receive_frame(Channel& channel, const FrameHeader& header) {
  write_zero_pages();
  uint64_t pages = 0;
  for (const PageGroup& g : groups_) {
    populated_.words()[g.index] |= g.data;
    pages += static_cast<uint64_t>(std::popcount(g.data | g.zero));
  }
  if (header.data_pages != 0) {
    GODWIT_TRY(header.codec == Codec::kRaw ? receive_raw(channel, header)
                                           : receive_lz4(channel, header));
  }
  pages_.fetch_add(pages, std::memory_order_relaxed);
  return {};
}

// The frame's pages in guest memory, neighbours as one buffer.
void PageReceiver::collect_runs() {
  runs_.clear();
  for_each_run(groups_, [&](PageIndex first, uint64_t count) {
    runs_.emplace_back(memory_.page(first), count * kPageSize);
  });
}

Result<> PageReceiver::receive_raw(Channel& channel, const FrameHeader& header) {
  collect_runs();
  GODWIT_TRY(channel.receive(std::span<const MutableBuffer>(runs_)));
  if (!payload_checksums_) return {};
  uint64_t checksum = 0;
  if (runs_.size() == 1) {
    checksum = XXH3_64bits(runs_[0].data(), runs_[0].size());
  } else {
    checksum_.reset();
    for (const MutableBuffer run : runs_) checksum_.update(run);
    checksum = checksum_.digest();
  }
  if (checksum != header.payload_checksum) return payload_corrupt();
  return {};
}

Result<> PageReceiver::receive_lz4(Channel& channel, const FrameHeader& header) {
  const MutableBuffer encoded(encoded_.get(), header.payload_bytes);
  GODWIT_TRY(channel.receive(encoded));
  if (payload_checksums_ &&
      XXH3_64bits(encoded.data(), encoded.size()) != header.payload_checksum) {
    return payload_corrupt();
  }
  collect_runs();
  const size_t raw_bytes = header.data_pages * kPageSize;
  // One run: decode in place. Several: decode, then deal out.
  std::byte* to = runs_.size() == 1 ? runs_[0].data() : decoded_.get();
  const int decoded = LZ4_decompress_safe(
      reinterpret_cast<const char*>(encoded.data()), reinterpret_cast<char*>(to),
      static_cast<int>(encoded.size()), static_cast<int>(raw_bytes));
  if (decoded < 0 || static_cast<size_t>(decoded) != raw_bytes) {
    return make_error(Errc::kCorrupt, "page frame: {} bytes of LZ4 do not decode to {} pages",
                      header.payload_bytes, header.data_pages);
  }
  if (runs_.size() == 1) return {};
  const std::byte* from = decoded_.get();
  for (const MutableBuffer run : runs_) {
    std::memcpy(run.data(), from, run.size());
    from += run.size();
  }
  return {};
}

void PageReceiver::write_zero_pages() {
  for (const PageGroup& g : groups_) {
    for (uint64_t bits = g.zero & populated_.words()[g.index]; bits != 0; bits &= bits - 1) {
      const auto bit = static_cast<uint64_t>(std::countr_zero(bits));
      std::byte* page = memory_.page(PageIndex{g.index * kPagesPerGroup + bit});
      if (!is_zero_page(page)) std::memset(page, 0, kPageSize);
    }
  }
}

}  // namespace godwit::migration
