#include "vmm/vm.h"

#include <atomic>
#include <system_error>

#include "vmm/arch.h"
#include "vmm/base/check.h"
#include "vmm/exit_dispatcher.h"
#include "vmm/kvm/capabilities.h"
#include "vmm/tracker_choice.h"
#include "vmm/vcpu_set.h"

namespace godwit::vmm {
namespace {

// Shares the VM's descriptor, so that it may outlive the Vm (its device may be taken apart later).
class KvmIrqLine final : public IrqLine {
 public:
  KvmIrqLine(std::shared_ptr<KvmVm> vm, uint32_t gsi) : vm_(std::move(vm)), gsi_(gsi) {}
  void set(bool level) override { vm_->set_irq_line(gsi_, level); }

 private:
  std::shared_ptr<KvmVm> vm_;
  uint32_t gsi_;
};

class KvmMsiSink final : public MsiSink {
 public:
  explicit KvmMsiSink(std::shared_ptr<KvmVm> vm) : vm_(std::move(vm)) {}
  void signal(uint64_t address, uint32_t data) override { vm_->signal_msi(address, data); }

 private:
  std::shared_ptr<KvmVm> vm_;
};

class KvmDoorbells final : public Doorbells {
 public:
  explicit KvmDoorbells(std::shared_ptr<KvmVm> vm) : vm_(std::move(vm)) {}
  bool attach(uint64_t address, int event_fd) override {
    return vm_->set_ioeventfd(address, event_fd, true);
  }
  void detach(uint64_t address, int event_fd) noexcept override {
    vm_->set_ioeventfd(address, event_fd, false);
  }

 private:
  std::shared_ptr<KvmVm> vm_;
};

Result<> check_host(const KvmVm& vm, const KvmCapabilities& caps, const VmConfig& config) {
  if (!caps.user_memory || !caps.immediate_exit) {
    return make_error(Errc::kUnsupported, "KVM here lacks {}: use Linux 4.13 or newer",
                      caps.user_memory ? "KVM_CAP_IMMEDIATE_EXIT" : "KVM_CAP_USER_MEMORY");
  }
  GODWIT_TRY(Arch::check_capabilities(vm));
  const uint32_t most = std::min({kMaxVcpus, caps.max_vcpus, caps.max_vcpu_id});
  if (config.vcpus == 0 || config.vcpus > most) {
    return make_error(Errc::kInvalidArgument, "{} vCPUs: 1 to {} are possible on this host",
                      config.vcpus, most);
  }
  return {};
}

}  // namespace

class Vm::Impl final : public VcpuEvents {
 public:
  // Everything that can fail because of the host or the configuration happens here.
  static Result<std::unique_ptr<Impl>> create(const VmConfig& config,
                                              std::unique_ptr<GuestMemory> memory);
  ~Impl() override { shut_down(); }

  VcpuEvents::Outcome handle_exit(KvmVcpu& vcpu, int result) override;
  void before_entry(KvmVcpu& vcpu) noexcept override { arch_->before_entry(vcpu); }
  void fault(const std::string& text) override;

  void shut_down() noexcept {
    if (set_) set_->shut_down();
  }
  PauseTimes pause();
  void resume();
  void save(ByteWriter& out);
  Result<> load(std::span<const std::byte> state, std::optional<Nanoseconds> clock_offset);
  Result<> start_at(const BootEntry& entry);
  [[nodiscard]] MachineDescription describe() const;

  // In the order in which they are made; taken apart backwards.
  KvmSystem system_;
  std::shared_ptr<KvmVm> vm_;
  std::unique_ptr<GuestMemory> memory_;
  std::unique_ptr<MemorySlots> slots_;
  std::unique_ptr<Arch> arch_;
  IoBus ports_;
  IoBus mmio_;
  std::vector<std::unique_ptr<KvmVcpu>> vcpus_;
  std::unique_ptr<DirtyTracker> tracker_;
  std::unique_ptr<ExitDispatcher> dispatcher_;
  std::vector<Device*> devices_;
  std::function<void(const std::string&)> fault_handler_;
  std::unique_ptr<VcpuSet> set_;
  bool has_run_ = false;
  bool load_failed_ = false;
  uint64_t guest_id_ = 0;

 private:
  explicit Impl(KvmSystem system) : system_(std::move(system)) {}
  Result<> build(const VmConfig& config);
  Result<> load_devices(std::span<const StateSection> sections);
  [[nodiscard]] Arch::ForEachVcpu for_each_vcpu();
};

Result<std::unique_ptr<Vm::Impl>> Vm::Impl::create(const VmConfig& config,
                                                   std::unique_ptr<GuestMemory> memory) {
  GODWIT_ASSIGN(auto system, KvmSystem::open());
  std::unique_ptr<Impl> impl(new Impl(std::move(system)));
  impl->memory_ = std::move(memory);
  try {
    GODWIT_TRY(impl->build(config));
  } catch (const std::system_error& error) {
    return error_from_errno(error.code().value(),
                            fmt::format("cannot create the virtual machine: {}", error.what()));
  }
  return impl;
}

Result<> Vm::Impl::build(const VmConfig& config) {
  guest_id_ = config.guest_id;
  vm_ = std::make_shared<KvmVm>(system_);
  const KvmCapabilities caps = probe_capabilities(*vm_);
  GODWIT_TRY(check_host(*vm_, caps, config));
  if (!memory_) {
    GODWIT_ASSIGN(memory_, GuestMemory::create(config.memory));
  }
  // Slots before the interrupt controllers: the first slot after them takes milliseconds.
  slots_ = std::make_unique<MemorySlots>(*vm_, *memory_);
  dispatcher_ = std::make_unique<ExitDispatcher>(ports_, mmio_, *slots_);
  // KVM wants to know of the dirty rings before there is a vCPU.
  GODWIT_ASSIGN(auto tracker, choose_tracker(config.dirty_tracking, *vm_, *slots_, *memory_, caps));
  arch_ = std::make_unique<Arch>(system_, *vm_, *memory_);
  for (uint32_t i = 0; i < config.vcpus; ++i) vcpus_.push_back(vm_->create_vcpu(i));
  GODWIT_TRY(arch_->set_up_vcpus(vcpus_, config));
  if (tracker.ring != nullptr) {
    for (const auto& vcpu : vcpus_) tracker.ring->add_vcpu(*vcpu);
    dispatcher_->set_dirty_ring(tracker.ring);
  }
  tracker_ = std::move(tracker.tracker);
  set_ = std::make_unique<VcpuSet>(vcpus_, *this);
  return {};
}

Arch::ForEachVcpu Vm::Impl::for_each_vcpu() {
  // Waking a thread costs about as much as the state of one vCPU.
  constexpr size_t kWorthThreads = 4;
  if (vcpus_.size() < kWorthThreads) {
    return [this](const std::function<void(size_t)>& f) {
      for (size_t i = 0; i < vcpus_.size(); ++i) f(i);
    };
  }
  return [this](const std::function<void(size_t)>& f) { set_->run_on_each(f); };
}

VcpuEvents::Outcome Vm::Impl::handle_exit(KvmVcpu& vcpu, int result) {
  Outcome outcome;
  try {
    outcome = dispatcher_->handle_exit(vcpu, result);
  } catch (const std::exception& error) {
    outcome = {false, fmt::format("a device or the host fails: {}", error.what())};
  }
  if (!outcome.fault.empty()) {
    outcome.fault = fmt::format("vCPU {} cannot go on: {}; {}", vcpu.index(), outcome.fault,
                                Arch::describe_registers(vcpu));
  }
  return outcome;
}

void Vm::Impl::fault(const std::string& text) {
  if (fault_handler_) fault_handler_(text);
}

PauseTimes Vm::Impl::pause() {
  PauseTimes times;
  times.requested = now();
  const bool was_running = set_->running();
  for (Device* device : devices_) device->start_quiesce();
  times.stopped = std::max(times.requested, set_->pause());
  for (Device* device : devices_) device->quiesce();
  times.quiesced = was_running || !devices_.empty() ? now() : times.stopped;
  return times;
}

void Vm::Impl::resume() {
  GODWIT_CHECK(!load_failed_, "resume after a load that failed");
  if (set_->running()) return;
  has_run_ = true;
  for (Device* device : devices_) device->resume();
  set_->resume();
}

MachineDescription Vm::Impl::describe() const {
  MachineDescription description;
  description.arch = Arch::kName;
  description.memory_size = memory_->size();
  description.vcpus = static_cast<uint32_t>(vcpus_.size());
  for (const Device* device : devices_) {
    description.devices.push_back({std::string(device->type()), device->instance(),
                                   device->state_version(), device->traits()});
  }
  description.cpu = arch_->describe_cpu();
  description.guest_id = guest_id_;
  return description;
}

Result<> Vm::Impl::start_at(const BootEntry& entry) {
  GODWIT_CHECK(!has_run_, "start_at() of a machine that has run");
  return arch_->start_at(vcpus_, entry);
}

void Vm::Impl::save(ByteWriter& out) {
  GODWIT_CHECK(!set_->running(), "save() of a running machine");
  arch_->save(vcpus_, for_each_vcpu(), out);
  ByteWriter payload;
  StateSection section;
  for (const Device* device : devices_) {
    payload.clear();
    device->save(payload);
    section.type = device->type();
    section.instance = device->instance();
    section.version = device->state_version();
    section.payload.assign(payload.view().begin(), payload.view().end());
    write_section(section, out);
  }
}

Result<> Vm::Impl::load(std::span<const std::byte> state, std::optional<Nanoseconds> clock_offset) {
  GODWIT_CHECK(!has_run_, "load() into a machine that has run");
  // Until it has worked: a machine with half a state must not run.
  load_failed_ = true;
  GODWIT_ASSIGN(const auto sections, read_sections(state));
  GODWIT_TRY(arch_->stage(sections));
  GODWIT_TRY(load_devices(sections));
  GODWIT_TRY(arch_->apply(vcpus_, for_each_vcpu(), clock_offset));
  load_failed_ = false;
  return {};
}

Result<> Vm::Impl::load_devices(std::span<const StateSection> sections) {
  std::vector<bool> loaded(devices_.size());
  for (const StateSection& section : sections) {
    if (Arch::owns(section)) continue;
    size_t i = 0;
    while (i < devices_.size() &&
           (devices_[i]->type() != section.type || devices_[i]->instance() != section.instance)) {
      ++i;
    }
    if (i == devices_.size()) {
      if (section.optional) continue;
      return make_error(Errc::kIncompatible, "state of device {} {}, which this machine has not",
                        section.type, section.instance);
    }
    if (section.version == 0 || section.version > devices_[i]->state_version()) {
      return make_error(Errc::kIncompatible,
                        "state of device {} {} has version {}, known here is {}: this host runs an "
                        "older release of godwit",
                        section.type, section.instance, section.version,
                        devices_[i]->state_version());
    }
    if (loaded[i]) {
      return make_error(Errc::kCorrupt, "state of device {} {} comes twice", section.type,
                        section.instance);
    }
    loaded[i] = true;
    ByteReader in(section.payload, section.type);
    GODWIT_TRY(devices_[i]->load(in, section.version));
    GODWIT_TRY(in.finish());
  }
  for (size_t i = 0; i < devices_.size(); ++i) {
    if (loaded[i]) continue;
    return make_error(Errc::kCorrupt, "the state of device {} {} is missing", devices_[i]->type(),
                      devices_[i]->instance());
  }
  return {};
}

Vm::Vm(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Vm::~Vm() = default;

Result<std::unique_ptr<Vm>> Vm::create(const VmConfig& config,
                                       std::unique_ptr<GuestMemory> memory) {
  GODWIT_ASSIGN(auto impl, Impl::create(config, std::move(memory)));
  return std::unique_ptr<Vm>(new Vm(std::move(impl)));
}

IoBus& Vm::port_bus() {
  return impl_->ports_;
}
IoBus& Vm::mmio_bus() {
  return impl_->mmio_;
}
std::unique_ptr<IrqLine> Vm::irq_line(uint32_t gsi) {
  GODWIT_CHECK(gsi < Arch::kIrqLines, "an interrupt input that does not exist");
  return std::make_unique<KvmIrqLine>(impl_->vm_, gsi);
}
std::unique_ptr<MsiSink> Vm::msi_sink() {
  return std::make_unique<KvmMsiSink>(impl_->vm_);
}
std::unique_ptr<Doorbells> Vm::doorbells() {
  return std::make_unique<KvmDoorbells>(impl_->vm_);
}
void Vm::add_device(Device& device) {
  impl_->devices_.push_back(&device);
}
void Vm::set_events(GuestEvents& events) {
  impl_->dispatcher_->set_events(events);
}
void Vm::set_fault_handler(std::function<void(const std::string&)> handler) {
  impl_->fault_handler_ = std::move(handler);
}
Result<> Vm::start_at(const BootEntry& entry) {
  return impl_->start_at(entry);
}
void Vm::shut_down() noexcept {
  impl_->shut_down();
}
MachineDescription Vm::describe() const {
  return impl_->describe();
}
GuestMemory& Vm::memory() {
  return *impl_->memory_;
}
DirtyTracker& Vm::dirty_tracker() {
  return *impl_->tracker_;
}
PauseTimes Vm::pause() {
  return impl_->pause();
}
void Vm::resume() {
  impl_->resume();
}
bool Vm::running() const {
  return impl_->set_->running();
}
void Vm::release() {
  GODWIT_CHECK(!impl_->set_->running(), "release() of a running machine");
  for (Device* device : impl_->devices_) device->release();
}
void Vm::save(ByteWriter& out) {
  impl_->save(out);
}
Result<> Vm::load(std::span<const std::byte> state, std::optional<Nanoseconds> clock_offset) {
  return impl_->load(state, clock_offset);
}
std::optional<TimePoint> Vm::wait_first_entry(Nanoseconds limit) {
  return impl_->set_->wait_first_entry(limit);
}

}  // namespace godwit::vmm
