// A pseudo-terminal: any terminal program attaches to path() and leaves as it likes. With nobody
// there, output fills the terminal's own buffer (4 KiB in Linux) and then stalls as console.h says.
#pragma once
#include <memory>

#include "devices/console/endpoint.h"
#include "vmm/base/error.h"
#include "vmm/base/fd.h"

namespace godwit::devices {

class PtyEndpoint final : public ConsoleEndpoint {
 public:
  // A new pty in raw mode, mode 0600.
  static Result<std::unique_ptr<ConsoleEndpoint>> open();
  PtyEndpoint(UniqueFd controller, UniqueFd terminal, std::string path)
      : controller_(std::move(controller)),
        terminal_(std::move(terminal)),
        path_(std::move(path)) {}

  Ready prepare(bool want_input, bool want_output, PollSet set) override;
  Ready after_poll(PollSet set) override;
  size_t read(std::span<std::byte> to) override;
  Written write(std::span<const std::byte> bytes) override;
  [[nodiscard]] std::string path() const override { return path_; }

 private:
  UniqueFd controller_;
  // Kept open: otherwise the controller reports a hang-up for as long as nobody is attached, and
  // only polling would tell when somebody is.
  UniqueFd terminal_;
  std::string path_;
};

}  // namespace godwit::devices
