// Two network namespaces joined by a veth pair with a bandwidth limit, as two hosts on a slow link.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "vmm/base/error.h"

namespace godwit::bench {

class ShapedLink {
 public:
  // 1 Gbit/s each way, by tc's tbf; with netem, where the kernel has it, 0.25 ms of delay each way
  // besides. kUnsupported says what is missing (root, ip, tc, tbf).
  static Result<std::unique_ptr<ShapedLink>> create();
  ~ShapedLink();
  ShapedLink(const ShapedLink&) = delete;
  ShapedLink& operator=(const ShapedLink&) = delete;

  // To be put before a command.
  [[nodiscard]] std::vector<std::string> source_prefix() const { return prefix("s"); }
  [[nodiscard]] std::vector<std::string> target_prefix() const { return prefix("t"); }
  [[nodiscard]] static std::string target_address() { return "10.213.77.2"; }
  // "1 Gbit/s (tbf), no delay: this kernel has no netem".
  [[nodiscard]] const std::string& description() const { return description_; }

 private:
  ShapedLink();
  [[nodiscard]] std::vector<std::string> prefix(const char* side) const;
  Result<void> set_up();

  std::string stem_;  // of the namespaces' names
  std::string description_;
};

}  // namespace godwit::bench
