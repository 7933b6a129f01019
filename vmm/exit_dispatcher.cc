#include "vmm/exit_dispatcher.h"

#include <fmt/core.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

#include "vmm/kvm/constants.h"

namespace godwit::vmm {
namespace {

using Outcome = VcpuEvents::Outcome;

Outcome go_on() {
  return {};
}
Outcome fault(std::string text) {
  return {false, std::move(text)};
}

const char* suberror_name(uint32_t suberror) {
  switch (suberror) {
    case KVM_INTERNAL_ERROR_EMULATION:
      return "an instruction that KVM cannot emulate";
    case KVM_INTERNAL_ERROR_SIMUL_EX:
      return "two exceptions at once";
    case KVM_INTERNAL_ERROR_DELIVERY_EV:
      return "an exit while an event was delivered";
    case KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON:
      return "an exit of the CPU that KVM does not know";
    default:
      return "an internal error";
  }
}

std::string internal_error_text(const kvm_run& run) {
  std::string text = fmt::format("KVM reports {} (suberror {})",
                                 suberror_name(run.internal.suberror), run.internal.suberror);
  const uint32_t words = std::min<uint32_t>(run.internal.ndata, std::size(run.internal.data));
  for (uint32_t i = 0; i < words; ++i) {
    text += fmt::format("{}{:#x}", i == 0 ? ", data " : " ", run.internal.data[i]);
  }
  return text;
}

std::string run_error_text(const kvm_run& run, int error) {
  std::string text =
      fmt::format("KVM_RUN fails: {} (errno {})", std::generic_category().message(error), error);
  if (run.exit_reason == KVM_EXIT_MEMORY_FAULT) {
    text += ", guest memory cannot be accessed by the kernel";
  } else if (error == EFAULT) {
    text += ": the kernel cannot access guest memory (userfaultfd for user mode only?)";
  }
  return text;
}

}  // namespace

Outcome ExitDispatcher::handle_exit(KvmVcpu& vcpu, int result) {
  const kvm_run& run = vcpu.run_area();
  // KVM_RUN says -EAGAIN when a vCPU that waits for INIT or SIPI changes its state.
  if (result == -EAGAIN) return go_on();
  if (result < 0) return fault(run_error_text(run, -result));
  switch (run.exit_reason) {
    case KVM_EXIT_IO:
      return handle_port_io(vcpu);
    case KVM_EXIT_MMIO:
      return handle_mmio(vcpu);
    case KVM_EXIT_INTR:
    case KVM_EXIT_IRQ_WINDOW_OPEN:
      return go_on();
    case KVM_EXIT_DIRTY_RING_FULL:
      if (ring_ == nullptr) return fault("KVM reports a full dirty ring, but there is none");
      ring_->collect_full();
      return go_on();
    case KVM_EXIT_SHUTDOWN:
      return handle_shutdown();
    case KVM_EXIT_SYSTEM_EVENT:
      return handle_system_event(run);
    case KVM_EXIT_INTERNAL_ERROR:
      return fault(internal_error_text(run));
    case KVM_EXIT_FAIL_ENTRY:
      return fault(fmt::format("the CPU refuses to enter the guest, hardware reason {:#x}",
                               run.fail_entry.hardware_entry_failure_reason));
    default:
      return fault(fmt::format("KVM exits for reason {}, which is unknown here", run.exit_reason));
  }
}

Outcome ExitDispatcher::handle_port_io(KvmVcpu& vcpu) {
  const auto& io = vcpu.run_area().io;
  // Written by the kernel, so it fits; a check costs nothing beside an exit.
  const uint64_t bytes = uint64_t{io.size} * io.count;
  const auto area = vcpu.run_bytes();
  if (io.data_offset > area.size() || bytes > area.size() - io.data_offset) {
    return fault("KVM reports port I/O with data outside the vCPU's structure");
  }
  auto data = area.subspan(io.data_offset, bytes);
  // A string instruction comes as several accesses to the same port.
  for (uint32_t i = 0; i < io.count; ++i, data = data.subspan(io.size)) {
    if (io.direction == KVM_EXIT_IO_OUT) {
      ports_.write(io.port, data.first(io.size));
    } else {
      ports_.read(io.port, data.first(io.size));
    }
  }
  return go_on();
}

Outcome ExitDispatcher::handle_mmio(KvmVcpu& vcpu) {
  auto& mmio = vcpu.run_area().mmio;
  // KVM emulated an access to RAM and could not reach it: answering it would lose a write or
  // invent what is read.
  if (slots_.contains(mmio.phys_addr)) {
    return fault(fmt::format("KVM cannot reach guest RAM at {:#x} and reports it as a device",
                             uint64_t{mmio.phys_addr}));
  }
  const auto data = std::as_writable_bytes(std::span(mmio.data))
                        .first(std::min<size_t>(mmio.len, sizeof(mmio.data)));
  if (mmio.is_write != 0) {
    mmio_.write(mmio.phys_addr, data);
  } else {
    mmio_.read(mmio.phys_addr, data);
  }
  return go_on();
}

Outcome ExitDispatcher::handle_shutdown() {
  if (events_ == nullptr) return fault("the guest had a triple fault");
  events_->reset();
  return {false, {}};
}

Outcome ExitDispatcher::handle_system_event(const kvm_run& run) {
  if (events_ == nullptr) return fault("the guest asks to be ended, but nobody listens");
  switch (run.system_event.type) {
    case KVM_SYSTEM_EVENT_SHUTDOWN:
      events_->power_off();
      return {false, {}};
    case KVM_SYSTEM_EVENT_RESET:
      events_->reset();
      return {false, {}};
    default:
      return fault(
          fmt::format("the guest reports a crash (system event {})", run.system_event.type));
  }
}

}  // namespace godwit::vmm
