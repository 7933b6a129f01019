// Makes an instance's name one VMM's own.
#pragma once
#include <sys/types.h>

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "tools/godwit/instance/run_dir.h"
#include "vmm/base/error.h"
#include "vmm/base/fd.h"

namespace godwit::tools {

// Holds the name by a lock on NAME.lock, which the kernel gives back however the process ends: a
// socket whose lock is free was left by a dead VMM. It is an "open file description" lock
// (fcntl(2)), since that kind can be asked after without being taken. The destructor removes both
// files.
class InstanceLock {
 public:
  // Takes the name and removes a socket that a dead VMM left. Errors: kInvalidArgument for a bad
  // name; kAlreadyExists when a living VMM has it, with that one's process id.
  static Result<InstanceLock> take(const RunDir& dir, std::string_view name);
  InstanceLock(InstanceLock&&) noexcept = default;
  InstanceLock& operator=(InstanceLock&&) = delete;
  ~InstanceLock();

  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] const std::filesystem::path& socket_path() const { return socket_; }

 private:
  InstanceLock(std::string name, std::filesystem::path socket, std::filesystem::path lock,
               UniqueFd fd);
  std::string name_;
  std::filesystem::path socket_;
  std::filesystem::path lock_;
  UniqueFd fd_;
};

// The process that holds the name, if one does.
std::optional<pid_t> instance_owner(const RunDir& dir, std::string_view name);

}  // namespace godwit::tools
