// A listening Unix socket, mode 0600. One client at a time: others wait until it leaves. Without a
// client output is dropped. A client that only closes its sending side still gets output.
#pragma once
#include <memory>

#include "devices/console/endpoint.h"
#include "devices/unix_socket/unix_listener.h"
#include "vmm/base/error.h"
#include "vmm/base/fd.h"

namespace godwit::devices {

class UnixEndpoint final : public ConsoleEndpoint {
 public:
  // Listens at `path`. A socket left there by a dead process is replaced; one that is served is
  // refused (kAlreadyExists), and so is anything that is no socket.
  static Result<std::unique_ptr<ConsoleEndpoint>> open(const std::string& path);
  explicit UnixEndpoint(UnixListener listener) : listener_(std::move(listener)) {}

  Ready prepare(bool want_input, bool want_output, PollSet set) override;
  Ready after_poll(PollSet set) override;
  size_t read(std::span<std::byte> to) override;
  Written write(std::span<const std::byte> bytes) override;
  [[nodiscard]] std::string path() const override { return listener_.path(); }

 private:
  void drop_client() { client_.reset(); }

  UnixListener listener_;
  UniqueFd client_;
  bool input_ended_ = false;   // the client closed its sending side
  bool output_ended_ = false;  // the client takes nothing more
};

}  // namespace godwit::devices
