// A directory of a test's own, removed with everything in it.
#pragma once
#include <stdlib.h>

#include <filesystem>
#include <string>

#include "vmm/base/syscall.h"

namespace godwit::bench {

class TempDir {
 public:
  TempDir() {
    // Short: socket paths are limited to 107 bytes.
    std::string name = "/tmp/godwit-wl-XXXXXX";
    if (::mkdtemp(name.data()) == nullptr) throw_errno("mkdtemp");
    path_ = name;
  }
  ~TempDir() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace godwit::bench
