// A listening Unix socket that cleans up after itself and after the dead.
#pragma once
#include <sys/types.h>
#include <sys/un.h>

#include <string>
#include <string_view>

#include "vmm/base/error.h"
#include "vmm/base/fd.h"

namespace godwit::devices {

// A non-blocking stream socket; invalid, with errno, when the host gives none.
UniqueFd new_unix_socket();
// `what` begins the error's text. Errors: kInvalidArgument for a path that is too long.
Result<sockaddr_un> unix_address(std::string_view what, const std::string& path);

class UnixListener {
 public:
  // Listens at `path`, mode 0600. A socket left there by a dead process is replaced; one that is
  // served is refused (kAlreadyExists), and so is anything that is no socket. `what` begins the
  // text of errors: "serial console".
  static Result<UnixListener> open(std::string_view what, const std::string& path, int backlog);
  // Removes the socket file, unless somebody else's is there by now.
  ~UnixListener();
  UnixListener(UnixListener&&) noexcept = default;
  UnixListener& operator=(UnixListener&&) = delete;

  [[nodiscard]] int fd() const { return fd_.get(); }
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  UnixListener(UniqueFd fd, std::string path) : fd_(std::move(fd)), path_(std::move(path)) {}
  UniqueFd fd_;
  std::string path_;
  dev_t device_ = 0;
  ino_t inode_ = 0;
};

}  // namespace godwit::devices
