// The directory where the VMMs of one user meet the commands of that user: for an instance NAME it
// holds NAME.sock (the API, mode 0600) and NAME.lock (locked as long as the VMM lives).
#pragma once
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "vmm/base/error.h"

namespace godwit::tools {

// Longest instance name; a socket's path has 107 bytes in all.
inline constexpr size_t kMaxNameLength = 48;

// A name is 1 to kMaxNameLength of [A-Za-z0-9._-], the first of them a letter or a digit.
Result<> check_name(std::string_view name);

// $GODWIT_RUN_DIR, else $XDG_RUNTIME_DIR/godwit, else /run/godwit for root, else /tmp/godwit-UID.
std::filesystem::path default_run_dir();

class RunDir {
 public:
  // The default directory, made (0700) if it is missing. Errors: kPermission when it belongs to
  // somebody else or others may write to it (they could put a socket of theirs there);
  // kInvalidArgument when a socket's path would be too long.
  static Result<RunDir> open();
  static Result<RunDir> open(const std::filesystem::path& path);

  [[nodiscard]] const std::filesystem::path& path() const { return path_; }
  [[nodiscard]] std::filesystem::path socket_path(std::string_view name) const;
  [[nodiscard]] std::filesystem::path lock_path(std::string_view name) const;
  // Names that have a socket, sorted; the VMM behind one may be dead.
  [[nodiscard]] std::vector<std::string> names() const;

 private:
  explicit RunDir(std::filesystem::path path) : path_(std::move(path)) {}
  std::filesystem::path path_;
};

}  // namespace godwit::tools
