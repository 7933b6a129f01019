#include "tools/godwit/instance/run_dir.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>

namespace godwit::tools {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxSocketPath = 107;  // sun_path, without its final zero
constexpr std::string_view kSocketSuffix = ".sock";

const char* environment(const char* name) {
  const char* value = std::getenv(name);  // NOLINT(concurrency-mt-unsafe): nobody sets it
  return value != nullptr && *value != '\0' ? value : nullptr;
}

bool is_alnum(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

// Parents get the usual mode, the directory itself 0700.
Result<> make_directory(const fs::path& path) {
  std::error_code problem;
  if (path.has_parent_path()) fs::create_directories(path.parent_path(), problem);
  if (::mkdir(path.c_str(), 0700) == 0 || errno == EEXIST) return {};
  return error_from_errno(errno, fmt::format("cannot make the run directory {}; choose another "
                                             "with GODWIT_RUN_DIR",
                                             path.string()));
}

Result<> check_directory(const fs::path& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0)
    return error_from_errno(errno, fmt::format("cannot use the run directory {}", path.string()));
  if (!S_ISDIR(info.st_mode))
    return make_error(Errc::kInvalidArgument,
                      "the run directory {} is no directory; set GODWIT_RUN_DIR to one",
                      path.string());
  if (info.st_uid != ::geteuid())
    return make_error(
        Errc::kPermission,
        "the run directory {} belongs to user {}, not to you (user {}): sockets in it "
        "cannot be trusted; choose another with GODWIT_RUN_DIR",
        path.string(), info.st_uid, ::geteuid());
  if ((info.st_mode & (S_IWGRP | S_IWOTH)) != 0)
    return make_error(
        Errc::kPermission,
        "others may write to the run directory {} (mode {:04o}): sockets in it cannot "
        "be trusted; run chmod 0700 {}",
        path.string(), info.st_mode & 07777, path.string());
  return {};
}

}  // namespace

Result<> check_name(std::string_view name) {
  const bool good = !name.empty() && name.size() <= kMaxNameLength && is_alnum(name.front()) &&
                    std::ranges::all_of(name, [](char c) {
                      return is_alnum(c) || c == '.' || c == '_' || c == '-';
                    });
  if (good) return {};
  return make_error(Errc::kInvalidArgument,
                    "'{}' is no instance name: use 1 to {} letters, digits, '.', '_' or '-', "
                    "starting with a letter or a digit",
                    name.substr(0, 80), kMaxNameLength);
}

fs::path default_run_dir() {
  if (const char* own = environment("GODWIT_RUN_DIR")) return own;
  if (const char* runtime = environment("XDG_RUNTIME_DIR")) return fs::path(runtime) / "godwit";
  if (::geteuid() == 0) return "/run/godwit";
  return fmt::format("/tmp/godwit-{}", ::geteuid());
}

Result<RunDir> RunDir::open() {
  return open(default_run_dir());
}

Result<RunDir> RunDir::open(const fs::path& path) {
  std::error_code problem;
  fs::path absolute = fs::absolute(path, problem).lexically_normal();
  if (!absolute.has_filename()) absolute = absolute.parent_path();
  const size_t longest = absolute.string().size() + 1 + kMaxNameLength + kSocketSuffix.size();
  if (longest > kMaxSocketPath)
    return make_error(Errc::kInvalidArgument,
                      "the run directory {} has too long a name: a socket's path may have {} bytes "
                      "in all; choose a shorter one with GODWIT_RUN_DIR",
                      absolute.string(), kMaxSocketPath);
  GODWIT_TRY(make_directory(absolute));
  GODWIT_TRY(check_directory(absolute));
  return RunDir(std::move(absolute));
}

fs::path RunDir::socket_path(std::string_view name) const {
  return path_ / fmt::format("{}{}", name, kSocketSuffix);
}

fs::path RunDir::lock_path(std::string_view name) const {
  return path_ / fmt::format("{}.lock", name);
}

std::vector<std::string> RunDir::names() const {
  std::vector<std::string> found;
  std::error_code problem;
  for (fs::directory_iterator entry(path_, problem), end; !problem && entry != end;
       entry.increment(problem)) {
    std::string name = entry->path().filename().string();
    if (!name.ends_with(kSocketSuffix)) continue;
    name.resize(name.size() - kSocketSuffix.size());
    if (check_name(name)) found.push_back(std::move(name));
  }
  std::ranges::sort(found);
  return found;
}

}  // namespace godwit::tools
