#include "devices/virtio/balloon_config.h"

#include <fmt/format.h>

#include <string>

namespace godwit::devices::virtio {

Result<BalloonConfig> parse_balloon(std::string_view text) {
  if (text.empty()) return BalloonConfig{};
  if (text == "free-page-hint=on") return BalloonConfig{.free_page_hint = true};
  if (text == "free-page-hint=off") return BalloonConfig{.free_page_hint = false};
  return make_error(Errc::kInvalidArgument,
                    "'{}' is nothing that a balloon can be told: say free-page-hint=on or "
                    "free-page-hint=off, or nothing",
                    text);
}

BalloonConfig balloon_of_traits(std::string_view traits) {
  const std::string all = fmt::format(";{};", traits);
  const bool hints = all.find(fmt::format(";{};", kBalloonHintTrait)) != std::string::npos;
  return {.free_page_hint = hints};
}

}  // namespace godwit::devices::virtio
