#include "tools/godwit/process/kvm_machine.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>

#include "bench/workload/workload.h"
#include "devices/virtio/block.h"
#include "devices/virtio/net.h"
#include "tools/godwit/text/units.h"
#include "vmm/boot/image.h"
#include "vmm/boot/kernel.h"
#include "vmm/memory/host_memory.h"

namespace godwit::tools {
namespace {

Result<vmm::Image> open_kernel(const std::string& kernel) {
  if (kernel != kBuiltinWorkload) return vmm::Image::open(kernel);
  return vmm::Image::of(bench::workload_elf(), std::string(kBuiltinWorkload));
}

// "pty /dev/pts/3" of "pty"; "file=PATH" says it all.
std::string describe_console(const std::string& asked, const std::string& path) {
  return path.empty() || asked.find('=') != std::string::npos ? asked : asked + " " + path;
}

}  // namespace

Result<std::unique_ptr<KvmMachine>> KvmMachine::create(const MachineConfig& config,
                                                       const MachineEvents& events,
                                                       MachineParts parts) {
  devices::BoardConfig board = config.devices;
  GODWIT_ASSIGN(board.serial, devices::parse_console(config.console));
  if (!parts.devices) {
    GODWIT_ASSIGN(parts.devices, devices::BoardDevices::open(board, std::move(parts.nets)));
  }
  GODWIT_ASSIGN(auto vm, vmm::Vm::create(config.vm, std::move(parts.memory)));
  std::unique_ptr<KvmMachine> machine(new KvmMachine(config, events, std::move(vm)));
  machine->vm_->set_events(events.guest);
  machine->vm_->set_fault_handler(events.fault);
  GODWIT_ASSIGN(machine->board_,
                devices::Board::create(*machine->vm_, board, std::move(*parts.devices),
                                       events.guest, parts.arriving, std::move(parts.console)));
  machine->console_ = describe_console(config.console, machine->board_->console_path());
  // A pty's name is nowhere else.
  const std::string second = machine->board_->virtio_console_path();
  if (!second.empty()) spdlog::info("the guest's virtio console is at {}", second);
  return machine;
}

KvmMachine::~KvmMachine() {
  // A guest that never ran here, or is paused, keeps its console output to itself.
  if (vm_) shut_down(/*elsewhere=*/!vm_->running());
}

Result<std::unique_ptr<GuestMachine>> KvmMachine::reboot(const BootOptions& boot) {
  vm_->shut_down();
  auto nets = board_->net_ports();
  auto console = devices::Board::retire(std::move(board_));
  vm_.reset();  // its memory is needed
  MachineParts parts{.nets = std::move(nets), .console = std::move(console)};
  GODWIT_ASSIGN(auto machine, create(config_, events_, std::move(parts)));
  GODWIT_TRY(machine->boot(boot));
  return std::unique_ptr<GuestMachine>(std::move(machine));
}

Result<> KvmMachine::boot(const BootOptions& options) {
  GODWIT_ASSIGN(const vmm::Image kernel, open_kernel(options.kernel));
  vmm::BootRequest request{.kernel = kernel, .command_line = options.command_line};
  std::optional<vmm::Image> initrd;
  if (!options.initrd.empty()) {
    GODWIT_ASSIGN(initrd, vmm::Image::open(options.initrd));
    request.initrd = &*initrd;
  }
  GODWIT_ASSIGN(request.acpi_rsdp, board_->write_firmware_tables(vm_->memory()));
  GODWIT_ASSIGN(const vmm::BootEntry entry, vmm::load_kernel(vm_->memory(), request));
  return vm_->start_at(entry);
}

std::optional<BalloonInfo> KvmMachine::balloon() {
  devices::virtio::Balloon* const balloon = board_ ? board_->balloon() : nullptr;
  if (balloon == nullptr) return {};
  const uint64_t pages = vm_->memory().page_count();
  const auto without = [pages](uint64_t given) {  // `given` is what the guest says
    return ByteCount{(pages - std::min(pages, given)) << kPageShift};
  };
  BalloonInfo info{.target = without(balloon->target()), .actual = without(balloon->actual())};
  const auto statistics = balloon->statistics();
  if (statistics.free) info.free = statistics.free->value;
  if (statistics.available) info.available = statistics.available->value;
  return info;
}

void KvmMachine::describe_devices(GuestInfo& info) {
  info.balloon = balloon();
  if (!board_) return;
  for (const devices::virtio::Block* disk : board_->disks()) {
    const auto counters = disk->counters();
    info.disks.push_back({.id = disk->disk().config.id,
                          .source = disk->disk().config.source(),
                          .size = ByteCount{disk->disk().backend->info().size_bytes},
                          .read_only = disk->disk().backend->info().read_only,
                          .requests = counters.requests,
                          .failed = counters.failed});
  }
  for (const devices::virtio::Net* net : board_->networks()) {
    const devices::NetCounters counters = net->backend().counters();
    info.networks.push_back({.id = net->id(),
                             .interface = net->backend().host_name(),
                             .mac = to_string(net->mac()),
                             .sent_frames = counters.sent_frames,
                             .sent_bytes = counters.sent_bytes,
                             .received_frames = counters.received_frames,
                             .received_bytes = counters.received_bytes,
                             .dropped_frames = counters.dropped()});
  }
}

Result<> KvmMachine::resize_balloon(ByteCount memory) {
  devices::virtio::Balloon* const balloon = board_ ? board_->balloon() : nullptr;
  if (balloon == nullptr) return GuestMachine::resize_balloon(memory);
  const ByteCount all = vm_->memory().size();
  if (memory < vmm::kMinGuestMemory || memory > all)
    return make_error(Errc::kInvalidArgument,
                      "the guest cannot be asked to get along with {}: it has {}, and {} is the "
                      "least",
                      format_size(memory.value), format_size(all.value),
                      format_size(vmm::kMinGuestMemory.value));
  balloon->set_target(static_cast<uint32_t>((all - memory).value >> kPageShift));
  return {};
}

void KvmMachine::shut_down(bool elsewhere) noexcept {
  if (vm_) vm_->shut_down();
  if (board_) board_->shut_down(elsewhere ? devices::Unsent::kDiscard : devices::Unsent::kSend);
}

Result<std::unique_ptr<KvmMachineFactory>> KvmMachineFactory::make(const ReceiveOptions& options,
                                                                   MachineEvents events) {
  std::unique_ptr<KvmMachineFactory> factory(new KvmMachineFactory(options, std::move(events)));
  // What is missing on this host is said now and not when the guest comes.
  devices::BoardConfig board = options.devices;
  GODWIT_ASSIGN(board.serial, devices::parse_console(options.console));
  GODWIT_ASSIGN(factory->nets_, devices::open_net_ports(board.nets));
  GODWIT_TRY(devices::check_devices(board, factory->nets_));
  if (options.memory.size.value != 0) {
    GODWIT_TRY(factory->expect_room(options.memory.size));
    GODWIT_ASSIGN(factory->prepared_, vmm::GuestMemory::create(options.memory));
  }
  return factory;
}

// Ordinary pages are given at first touch: a guest that finds none left is killed by the kernel,
// long after its source let go of it. Huge pages are reserved.
Result<> KvmMachineFactory::expect_room(ByteCount wanted) const {
  if (options_.overcommit || options_.memory.hugepage_size.value != 0) return {};
  GODWIT_ASSIGN(const ByteCount available, vmm::available_memory());
  if (wanted <= available) return {};
  return make_error(Errc::kExhausted,
                    "{} of guest memory are more than the {} that this host could give now "
                    "(MemAvailable and SwapFree in /proc/meminfo): free some, or say --overcommit "
                    "to godwit receive if the guest does not use all of it",
                    format_size(wanted.value), format_size(available.value));
}

std::unique_ptr<vmm::GuestMemory> KvmMachineFactory::take_prepared(ByteCount wanted) {
  if (!prepared_ || prepared_->size() == wanted) return std::move(prepared_);
  spdlog::warn(
      "the guest has {} of memory, not the {} that --memory says: what was made in "
      "advance does not fit and is given back",
      format_size(wanted.value), format_size(prepared_->size().value));
  prepared_.reset();
  return nullptr;
}

Result<std::unique_ptr<vmm::Machine>> KvmMachineFactory::create(
    const vmm::MachineDescription& wanted) {
  MachineConfig config{.console = options_.console, .devices = options_.devices};
  GODWIT_ASSIGN(config.devices.serial, devices::parse_console(config.console));
  devices::adopt_devices(wanted.devices, config.devices);
  MachineParts parts{.arriving = true};
  GODWIT_ASSIGN(parts.devices, devices::BoardDevices::open(config.devices, nets_, wanted.volumes));
  const auto differences = devices::compare_devices(wanted.devices, parts.devices->describe());
  if (!differences.empty())
    return make_error(Errc::kIncompatible, "{}", fmt::join(differences, "\n"));
  config.vm.memory = options_.memory;
  config.vm.memory.size = wanted.memory_size;
  config.vm.vcpus = wanted.vcpus;
  config.vm.cpu = wanted.cpu;
  config.vm.guest_id = wanted.guest_id;
  config.vm.dirty_tracking = options_.dirty_tracking;
  parts.memory = take_prepared(wanted.memory_size);
  if (!parts.memory) GODWIT_TRY(expect_room(wanted.memory_size));
  GODWIT_ASSIGN(auto machine, KvmMachine::create(config, events_, std::move(parts)));
  return std::unique_ptr<vmm::Machine>(std::move(machine));
}

}  // namespace godwit::tools
