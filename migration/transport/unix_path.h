// The file that a listening Unix socket is.
#pragma once
#include <sys/types.h>

#include <string>

#include "vmm/base/error.h"

namespace godwit::migration {

// Makes way for a socket at `path`: nothing there is fine, a socket that nobody listens on (left by
// a dead process) is removed, a live one or another kind of file is kAlreadyExists.
Result<> clear_stale_socket(const std::string& path);

// Removes `path` when destroyed, if it is still the file that it was at the construction.
class SocketFile {
 public:
  SocketFile() = default;
  explicit SocketFile(std::string path);
  ~SocketFile();
  SocketFile(const SocketFile&) = delete;
  SocketFile& operator=(const SocketFile&) = delete;
  SocketFile(SocketFile&& other) noexcept;
  SocketFile& operator=(SocketFile&& other) noexcept;

 private:
  void remove() noexcept;
  std::string path_;
  dev_t device_ = 0;
  ino_t inode_ = 0;
};

}  // namespace godwit::migration
