// A directory of a test's own.
#pragma once
#include <cstdlib>
#include <filesystem>
#include <string>

#include "vmm/base/syscall.h"

namespace godwit::tools {

class TempDir {
 public:
  TempDir() {
    std::string pattern = "/tmp/godwit-test-XXXXXX";
    if (::mkdtemp(pattern.data()) == nullptr) throw_errno("mkdtemp");
    path_ = pattern;
  }
  ~TempDir() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }
  [[nodiscard]] std::filesystem::path operator/(const char* name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

}  // namespace godwit::tools
