// Output to a file, appended; no input.
#pragma once
#include <memory>

#include "devices/console/endpoint.h"
#include "vmm/base/error.h"
#include "vmm/base/fd.h"

namespace godwit::devices {

class FileEndpoint final : public ConsoleEndpoint {
 public:
  // Opens or creates (mode 0600: a console shows secrets) the file.
  static Result<std::unique_ptr<ConsoleEndpoint>> open(const std::string& path);
  FileEndpoint(UniqueFd fd, std::string path) : fd_(std::move(fd)), path_(std::move(path)) {}

  Ready prepare(bool want_input, bool want_output, PollSet set) override;
  Ready after_poll(PollSet set) override;
  size_t read(std::span<std::byte>) override { return 0; }
  // A disk that refuses (full, quota, broken) drops the bytes: the guest must not hang on it.
  Written write(std::span<const std::byte> bytes) override;
  [[nodiscard]] std::string path() const override { return path_; }

 private:
  UniqueFd fd_;
  std::string path_;
  bool failing_ = false;
};

}  // namespace godwit::devices
