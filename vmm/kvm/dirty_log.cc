#include "vmm/kvm/dirty_log.h"

#include <algorithm>
#include <array>
#include <system_error>

#include "vmm/base/check.h"
#include "vmm/kvm/constants.h"
#include "vmm/kvm/dirty_stretches.h"

namespace godwit::vmm {

DirtyLog::DirtyLog(KvmVm& vm, MemorySlots& slots, GuestMemory& memory, uint32_t manual_protect)
    : vm_(vm), slots_(slots), memory_(memory), manual_protect_(manual_protect) {
  if (manual_protect_ != 0) {
    vm_.enable_capability(KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, manual_protect_,
                          "KVM_ENABLE_CAP(KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2)");
  }
}

DirtyLog::~DirtyLog() {
  stop();
}

void DirtyLog::start() {
  if (started_) stop();
  if (scratch_.pages() == 0) scratch_ = DirtyBitmap(memory_.page_count());
  started_ = true;
  memory_.record_host_writes(true);
  slots_.set_logging(true);
  if ((manual_protect_ & KVM_DIRTY_LOG_INITIALLY_SET) == 0) return;
  // The bitmap starts as all ones and no page is write-protected: a write now would be invisible
  // until its page is cleared for the first time.
  uint32_t slot = 0;
  for (const MemoryRegion& region : slots_.regions()) clear_everything(slot++, region);
}

void DirtyLog::clear_everything(uint32_t slot, const MemoryRegion& region) {
  std::array<uint64_t, kClearMaxDirtyPages / 64> ones;
  ones.fill(~uint64_t{0});
  for (uint64_t page = 0; page < region.size.pages(); page += kClearMaxDirtyPages) {
    const uint64_t pages = std::min(kClearMaxDirtyPages, region.size.pages() - page);
    vm_.clear_dirty_log(slot, page, static_cast<uint32_t>(pages), ones);
  }
}

void DirtyLog::harvest(DirtyBitmap& into) {
  GODWIT_CHECK(started_, "harvest without start");
  GODWIT_CHECK(into.pages() == memory_.page_count(), "bitmap of another guest");
  uint32_t slot = 0;
  for (const MemoryRegion& region : slots_.regions()) {
    const uint64_t first_word = region.first_page.value / 64;
    const auto words = scratch_.words().subspan(first_word, region.size.pages() / 64);
    const auto result = into.words().subspan(first_word, words.size());
    vm_.get_dirty_log(slot, words);
    for_each_dirty_stretch(words, [&](uint64_t first, uint64_t count) {
      for (uint64_t w = first; w < first + count; ++w) result[w] |= words[w];
      if (manual_protect_ == 0) return;
      vm_.clear_dirty_log(slot, first * 64, static_cast<uint32_t>(count * 64),
                          words.subspan(first, count));
    });
    ++slot;
  }
  memory_.drain_host_writes(into);
}

void DirtyLog::stop() noexcept {
  if (!started_) return;
  started_ = false;
  memory_.record_host_writes(false);
  try {
    slots_.set_logging(false);
  } catch (const std::system_error&) {
    // Logging goes on and costs time, but nothing is wrong: the next start() tries again.
  }
}

std::string_view DirtyLog::name() const {
  return manual_protect_ != 0 ? "dirty-log" : "dirty-log-plain";
}

}  // namespace godwit::vmm
