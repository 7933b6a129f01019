// A machine as the VMM process owns it: what migration sees, and its end.
#pragma once
#include <memory>
#include <optional>
#include <string>

#include "tools/godwit/api/guest.h"
#include "tools/godwit/process/boot_options.h"
#include "vmm/machine.h"

namespace godwit::tools {

class GuestMachine : public vmm::Machine {
 public:
  // Where the user finds the guest's console: "stdio", "pty /dev/pts/3", ...
  [[nodiscard]] virtual std::string console() const = 0;
  // False: the guest does not listen to it (yet), and nothing was pressed. Any thread.
  virtual bool press_power_button() = 0;
  // Ends this machine, which may only be destroyed then, and makes one like it that has booted and
  // is ready to run; its console is this one's, with whoever is connected to it. Errors: the host
  // has not got what it takes any more, or what is to be booted has changed.
  virtual Result<std::unique_ptr<GuestMachine>> reboot(const BootOptions& boot) = 0;
  // What its devices tell users: fills in balloon, disks and networks. Any thread.
  virtual void describe_devices(GuestInfo&) {}
  // As Guest::resize_balloon.
  virtual Result<> resize_balloon(ByteCount) {
    return make_error(Errc::kPrecondition,
                      "this guest has no balloon: it must be started with --balloon");
  }
  // Stops the vCPUs for good, then the devices. `elsewhere`: the guest goes on at the target of a
  // migration, so nothing of it may come out here any more.
  virtual void shut_down(bool elsewhere) noexcept = 0;
};

}  // namespace godwit::tools
