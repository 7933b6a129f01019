#include "tools/godwit/process/vmm_process.h"

#include <csignal>
#include <random>

#include "tools/godwit/api/event_loop.h"
#include "tools/godwit/api/server.h"
#include "tools/godwit/instance/instance_lock.h"
#include "tools/godwit/process/hosted_guest.h"
#include "tools/godwit/process/kvm_machine.h"
#include "vmm/boot/image.h"

namespace godwit::tools {
namespace {

// How long open streams may take to get their last line.
constexpr Nanoseconds kLinger = std::chrono::seconds(5);

// What both kinds of process have. Members are destroyed from the last to the first: the guest's
// threads are joined before the loop that they post to is gone, and the name is given back last.
class Process {
 public:
  static Result<std::unique_ptr<Process>> create(const std::string& name, Reboot reboot) {
    GODWIT_ASSIGN(const RunDir dir, RunDir::open());
    GODWIT_ASSIGN(InstanceLock lock, InstanceLock::take(dir, name));
    std::unique_ptr<Process> process(new Process(std::move(lock), std::move(reboot)));
    GODWIT_ASSIGN(process->server_,
                  ApiServer::start(process->loop_, process->lock_.socket_path(), process->guest_));
    return process;
  }

  HostedGuest& guest() { return guest_; }
  MachineEvents events() {
    return {guest_, [this](const std::string& text) { guest_.fault(text); }};
  }
  Result<vmm::MachineFactory*> make_factory(const ReceiveOptions& options) {
    GODWIT_ASSIGN(factory_, KvmMachineFactory::make(options, events()));
    return factory_.get();
  }
  int run() {
    // Not earlier: until here a signal simply ends the process, however long memory takes to
    // populate.
    loop_.on_signal([this](int number) {
      guest_.end({0, number == SIGINT ? "interrupted" : "asked to by a signal"});
    });
    loop_.run();
    return status_;
  }

 private:
  Process(InstanceLock lock, Reboot reboot)
      : lock_(std::move(lock)),
        guest_(loop_, {.name = lock_.name(),
                       .reboot = std::move(reboot),
                       .make_sender = make_sender,
                       .on_end = [this](const Ending& ending) { finish(ending); }}) {}

  void finish(const Ending& ending) {
    status_ = ending.status;
    server_->close(kLinger, [this] { loop_.stop(); });
  }

  InstanceLock lock_;
  EventLoop loop_;
  std::unique_ptr<vmm::MachineFactory> factory_;  // used by the guest's migration thread
  HostedGuest guest_;
  std::unique_ptr<ApiServer> server_;
  int status_ = 0;
};

uint64_t new_guest_id() {
  std::random_device random;
  const uint64_t id = uint64_t{random()} << 32 | random();
  return id == 0 ? 1 : id;
}

void ignore_broken_pipes() {
  std::signal(SIGPIPE, SIG_IGN);
}

Reboot reboot_of(const RunOptions& options) {
  return {.boot = options, .refusal = options.reboot ? "" : "--no-reboot"};
}

Reboot reboot_of(const ReceiveOptions& options) {
  Reboot reboot{.boot = options.boot};
  if (!options.reboot)
    reboot.refusal = "--no-reboot";
  else if (options.boot.kernel.empty())
    reboot.refusal =
        "it came by migration, and what to boot was not said; give --kernel (and --initrd, "
        "--cmdline) to `godwit receive` next time";
  return reboot;
}

// What is missing shall be known now, and not when the guest reboots.
Result<> check_boot(const BootOptions& boot) {
  if (!boot.kernel.empty() && boot.kernel != kBuiltinWorkload)
    GODWIT_TRY(vmm::Image::open(boot.kernel));
  if (!boot.initrd.empty()) GODWIT_TRY(vmm::Image::open(boot.initrd));
  return {};
}

}  // namespace

Result<int> run_guest(const RunOptions& options) {
  ignore_broken_pipes();
  GODWIT_ASSIGN(const auto process, Process::create(options.name, reboot_of(options)));
  MachineConfig config{.vm = options.vm, .console = options.console, .devices = options.devices};
  config.vm.guest_id = new_guest_id();
  GODWIT_ASSIGN(auto machine, KvmMachine::create(config, process->events()));
  GODWIT_TRY(machine->boot(options));
  process->guest().start(std::move(machine));
  return process->run();
}

Result<int> receive_guest(const ReceiveOptions& options) {
  ignore_broken_pipes();
  GODWIT_TRY(check_boot(options.boot));
  GODWIT_ASSIGN(const auto process, Process::create(options.name, reboot_of(options)));
  std::string bound;
  GODWIT_ASSIGN(vmm::MachineFactory* const factory, process->make_factory(options));
  GODWIT_ASSIGN(auto receiver,
                make_receiver(options.listen, *factory, process->guest().observer(), bound));
  process->guest().receive(std::move(receiver), bound);
  return process->run();
}

}  // namespace godwit::tools
