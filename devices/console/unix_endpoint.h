// A listening Unix socket, mode 0600. One client at a time: others wait until it leaves. Without a
// client output is dropped. A client that only closes its sending side still gets output.
#pragma once
#include <sys/types.h>

#include <memory>

#include "devices/console/endpoint.h"
#include "vmm/base/error.h"
#include "vmm/base/fd.h"

namespace godwit::devices {

class UnixEndpoint final : public ConsoleEndpoint {
 public:
  // Listens at `path`. A socket left there by a dead process is replaced; one that is served is
  // refused (kAlreadyExists), and so is anything that is no socket.
  static Result<std::unique_ptr<ConsoleEndpoint>> open(const std::string& path);
  UnixEndpoint(UniqueFd listener, std::string path, dev_t device, ino_t inode)
      : listener_(std::move(listener)), path_(std::move(path)), device_(device), inode_(inode) {}
  // Removes the socket file, unless somebody else's is there by now.
  ~UnixEndpoint() override;

  Ready prepare(bool want_input, bool want_output, PollSet set) override;
  Ready after_poll(PollSet set) override;
  size_t read(std::span<std::byte> to) override;
  Written write(std::span<const std::byte> bytes) override;
  [[nodiscard]] std::string path() const override { return path_; }

 private:
  void drop_client() { client_.reset(); }

  UniqueFd listener_;
  std::string path_;
  dev_t device_;
  ino_t inode_;
  UniqueFd client_;
  bool input_ended_ = false;   // the client closed its sending side
  bool output_ended_ = false;  // the client takes nothing more
};

}  // namespace godwit::devices
