// Decides what an exit of a vCPU means and carries it out.
#pragma once
#include <functional>
#include <string>

#include "vmm/io/io_bus.h"
#include "vmm/io/io_handler.h"
#include "vmm/kvm/dirty_ring.h"
#include "vmm/kvm/memory_slots.h"
#include "vmm/vcpu_set.h"

namespace godwit::vmm {

// Threads: handle_exit() on all vCPUs' threads at once; the setters before the first one runs.
class ExitDispatcher {
 public:
  ExitDispatcher(const IoBus& ports, const IoBus& mmio, const MemorySlots& slots)
      : ports_(ports), mmio_(mmio), slots_(slots) {}

  void set_events(GuestEvents& events) { events_ = &events; }
  void set_dirty_ring(DirtyRing* ring) { ring_ = ring; }

  // A fault's text says what and where; its registers are the caller's to add.
  VcpuEvents::Outcome handle_exit(KvmVcpu& vcpu, int result);

 private:
  VcpuEvents::Outcome handle_port_io(KvmVcpu& vcpu);
  VcpuEvents::Outcome handle_mmio(KvmVcpu& vcpu);
  VcpuEvents::Outcome handle_shutdown();
  VcpuEvents::Outcome handle_system_event(const kvm_run& run);

  const IoBus& ports_;
  const IoBus& mmio_;
  const MemorySlots& slots_;
  GuestEvents* events_ = nullptr;
  DirtyRing* ring_ = nullptr;
};

}  // namespace godwit::vmm
