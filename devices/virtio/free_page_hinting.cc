#include "devices/virtio/free_page_hinting.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>

#include "devices/virtio/buffers.h"
#include "vmm/base/check.h"

namespace godwit::devices::virtio {
namespace {

// The whole pages in `bytes`, which lie in guest memory.
vmm::PageRange pages_in(std::span<const std::byte> bytes, const vmm::GuestMemory& memory) {
  const auto offset = static_cast<uint64_t>(bytes.data() - memory.base());
  const uint64_t first = (offset + kPageSize - 1) >> kPageShift;
  const uint64_t end = (offset + bytes.size()) >> kPageShift;
  return {PageIndex{first}, end > first ? end - first : 0};
}

std::optional<uint32_t> id_in(const Chain& chain) {
  std::array<std::byte, sizeof(uint32_t)> raw;
  if (copy_out(chain.readable, 0, raw) != raw.size()) return {};
  uint32_t id;
  std::memcpy(&id, raw.data(), sizeof id);
  return id;
}

}  // namespace

bool FreePageHinting::begin(vmm::FreePageSink& sink) {
  const std::lock_guard lock(mutex_);
  GODWIT_CHECK(sink_ == nullptr, "a session of free page hints is under way");
  if (!allowed_.load()) return false;
  const uint32_t before = latest_.load();
  const uint32_t id = before < kFirstId || before == UINT32_MAX ? kFirstId : before + 1;
  sink_ = &sink;
  heard_ = kStop;
  begun_ = now();
  hinted_pages_ = 0;
  latest_.store(id);
  command_.store(id);
  tell_driver_();
  return true;
}

void FreePageHinting::end() noexcept {
  const std::lock_guard lock(mutex_);
  if (sink_ == nullptr) return;
  sink_ = nullptr;
  finish_locked();
}

void FreePageHinting::finish_locked() {
  if (command_.exchange(kDone) == kDone) return;
  tell_driver_();
  spdlog::debug("virtio-balloon: asked for free pages, the guest hinted {} within {:.1f} ms{}",
                hinted_pages_, to_ms(now() - begun_), sink_ == nullptr ? ", then it was late" : "");
}

void FreePageHinting::hear_locked(uint32_t id) {
  const bool ends = id == kStop && heard_ >= kFirstId && heard_ == command_.load();
  heard_ = id;
  if (ends) finish_locked();
}

uint64_t FreePageHinting::take(const Chain& chain, const vmm::GuestMemory& memory) {
  const std::lock_guard lock(mutex_);
  if (const auto id = id_in(chain)) hear_locked(*id);
  if (sink_ == nullptr || heard_ < kFirstId || heard_ != command_.load()) return 0;
  uint64_t taken = 0;
  for (const Buffer& buffer : chain.writable) {
    const uint64_t size = std::min<uint64_t>(buffer.bytes.size(), kMostHinted - taken);
    const vmm::PageRange range = pages_in(buffer.bytes.first(size), memory);
    if (range.count != 0) sink_->add_free(range.first, range.count);
    hinted_pages_ += range.count;
    taken += size;
  }
  return taken >> kPageShift;
}

void FreePageHinting::forget_driver() {
  const std::lock_guard lock(mutex_);
  heard_ = kStop;
}

void FreePageHinting::set_latest(uint32_t id) {
  const std::lock_guard lock(mutex_);
  latest_.store(id);
  command_.store(id == 0 ? kStop : kDone);
}

}  // namespace godwit::devices::virtio
