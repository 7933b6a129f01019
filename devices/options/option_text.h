// A device option of the command line: "key=value,key=value,...".
//
// Two commas stand for one inside a value (as in QEMU). A key comes once, is one of those known,
// and has a value that is not empty and holds no zero byte.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "devices/options/options.h"
#include "vmm/base/error.h"

namespace godwit::devices {

class OptionText {
 public:
  // `what` names the option in errors, e.g. "network interface": also in those of the accessors.
  // Errors: kInvalidArgument, naming the text, the key and what is known.
  static Result<OptionText> parse(std::string_view text, std::string_view what,
                                  std::span<const std::string_view> known);

  // Empty when the key was not given.
  [[nodiscard]] std::optional<std::string> text(std::string_view key) const;
  // A decimal number.
  [[nodiscard]] Result<std::optional<uint64_t>> number(std::string_view key, uint64_t least,
                                                       uint64_t most) const;
  // "on" or "off".
  [[nodiscard]] Result<bool> on_off(std::string_view key, bool otherwise) const;

  // "WHAT 'TEXT': KEY=VALUE REASON"; without "KEY=VALUE" when `key` was not given.
  [[nodiscard]] Error error(std::string_view key, std::string_view reason) const;

 private:
  OptionText(std::string_view text, std::string_view what) : whole_(text), what_(what) {}

  std::string whole_;
  std::string what_;
  std::vector<Option> items_;
};

}  // namespace godwit::devices
