#include "vmm/kvm/dirty_ring.h"

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <system_error>

#include "vmm/base/check.h"
#include "vmm/kvm/constants.h"

namespace godwit::vmm {
namespace {
// 512 KiB of kernel memory per vCPU; at the 3 us that a dirty fault costs it fills in 0.1 s.
constexpr uint32_t kPreferredEntries = 32768;
}  // namespace

DirtyRing::DirtyRing(KvmVm& vm, MemorySlots& slots, GuestMemory& memory,
                     const KvmCapabilities& caps)
    : vm_(vm),
      slots_(slots),
      memory_(memory),
      entries_(std::bit_floor(std::min<uint32_t>(
          kPreferredEntries, caps.dirty_ring_max_bytes / sizeof(kvm_dirty_gfn)))),
      pending_(memory.page_count()) {
  vm_.enable_capability(caps.dirty_ring_capability, uint64_t{entries_} * sizeof(kvm_dirty_gfn),
                        "KVM_ENABLE_CAP(KVM_CAP_DIRTY_LOG_RING)");
}

DirtyRing::~DirtyRing() {
  stop();
}

void DirtyRing::add_vcpu(const KvmVcpu& vcpu) {
  const std::lock_guard lock(mutex_);
  rings_.push_back({Mapping::map(entries_ * sizeof(kvm_dirty_gfn), PROT_READ | PROT_WRITE,
                                 MAP_SHARED, vcpu.fd(), KVM_DIRTY_LOG_PAGE_OFFSET * kPageSize),
                    0});
}

void DirtyRing::collect_locked(DirtyBitmap& into) {
  bool any = false;
  for (Ring& ring : rings_) {
    auto* entries = reinterpret_cast<kvm_dirty_gfn*>(ring.mapping.data());
    // At most one round: a vCPU may go on filling behind us.
    for (uint32_t n = 0; n < entries_; ++n, ++ring.next) {
      kvm_dirty_gfn& entry = entries[ring.next & (entries_ - 1)];
      std::atomic_ref<uint32_t> flags(entry.flags);
      // The flag is published after slot and offset, and handed back after we read them.
      if ((flags.load(std::memory_order_acquire) & KVM_DIRTY_GFN_F_DIRTY) == 0) break;
      const uint32_t slot = entry.slot & 0xffff;  // the upper half is the address space, always 0
      GODWIT_CHECK(slot < slots_.regions().size(), "KVM reports a slot that does not exist");
      const MemoryRegion& region = slots_.regions()[slot];
      GODWIT_CHECK(entry.offset < region.size.pages(), "KVM reports a page outside its slot");
      into.set(PageIndex{region.first_page.value + entry.offset});
      flags.store(KVM_DIRTY_GFN_F_RESET, std::memory_order_release);
      any = true;
    }
  }
  // Re-arms what was marked, of all rings at once. Its pages are in `into` already, so whoever
  // reads them after this sees every write that came before.
  if (any) vm_.reset_dirty_rings();
}

void DirtyRing::take_pending_locked(DirtyBitmap& into) {
  if (!any_pending_) return;
  into.merge(pending_);
  pending_.clear_all();
  any_pending_ = false;
}

void DirtyRing::collect_full() {
  const std::lock_guard lock(mutex_);
  collect_locked(pending_);
  any_pending_ = true;
}

void DirtyRing::start() {
  if (started_) stop();
  started_ = true;
  memory_.record_host_writes(true);
  slots_.set_logging(true);
}

void DirtyRing::harvest(DirtyBitmap& into) {
  GODWIT_CHECK(started_, "harvest without start");
  GODWIT_CHECK(into.pages() == memory_.page_count(), "bitmap of another guest");
  {
    const std::lock_guard lock(mutex_);
    collect_locked(into);
    take_pending_locked(into);
  }
  memory_.drain_host_writes(into);
}

void DirtyRing::stop() noexcept {
  if (!started_) return;
  started_ = false;
  memory_.record_host_writes(false);
  try {
    slots_.set_logging(false);
    // What the rings still hold belongs to nobody; the next start() must not see it.
    const std::lock_guard lock(mutex_);
    collect_locked(pending_);
    pending_.clear_all();
    any_pending_ = false;
  } catch (const std::system_error&) {
    // Logging goes on and costs time, but nothing is wrong: the next start() tries again, and
    // what it finds too much is only sent once more.
  }
}

}  // namespace godwit::vmm
