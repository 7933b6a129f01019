// What a user may say of a balloon.
#pragma once
#include <optional>
#include <string_view>

#include "vmm/base/error.h"

namespace godwit::devices::virtio {

struct BalloonConfig {
  // Whether a migration asks the guest what need not travel (free_page_hinting.h says why that is
  // not for every guest). Not said: no, or as where the guest comes from.
  std::optional<bool> free_page_hint;
};

// "" or "free-page-hint=on|off". Errors: kInvalidArgument.
Result<BalloonConfig> parse_balloon(std::string_view text);

// In the traits of a balloon with hints.
inline constexpr std::string_view kBalloonHintTrait = "free-page-hint=on";
// The balloon that has these traits.
BalloonConfig balloon_of_traits(std::string_view traits);

}  // namespace godwit::devices::virtio
