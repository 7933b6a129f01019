#include "devices/net/net_config.h"

#include <net/if.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "devices/options/option_text.h"

namespace godwit::devices {
namespace {

constexpr std::array<std::string_view, 9> kKeys = {"id",     "tap",     "create", "fd",      "mac",
                                                   "queues", "offload", "mtu",    "announce"};

bool is_id_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
         c == '_' || c == '-';
}

Result<> parse_id(const OptionText& options, NetConfig& config) {
  const auto id = options.text("id");
  if (!id) return {};
  if (id->size() > kMaxDeviceIdLength || !std::ranges::all_of(*id, is_id_character)) {
    return options.error("id", fmt::format("is no name of 1 to {} characters out of A-Z a-z 0-9 "
                                           ". _ -",
                                           kMaxDeviceIdLength));
  }
  config.id = *id;
  return {};
}

// What Linux accepts for an interface (dev_valid_name()), less what tools trip over, less '%', by
// which the kernel picks a name of its own.
bool is_interface_name(std::string_view name) {
  return !name.empty() && name.size() < IFNAMSIZ && name != "." && name != ".." &&
         std::ranges::none_of(
             name, [](char c) { return c <= ' ' || c > '~' || c == '/' || c == ':' || c == '%'; });
}

Result<> parse_tap(const OptionText& options, NetConfig& config) {
  const auto tap = options.text("tap");
  if (tap.has_value() == options.text("fd").has_value()) {
    return options.error("", tap ? "tap and fd exclude each other; give one of them"
                                 : "neither tap nor fd is given; write tap=IFNAME for a tap "
                                   "interface of this host");
  }
  GODWIT_ASSIGN(config.create, options.on_off("create", false));
  if (!tap) {
    if (!config.create) return {};
    return options.error("create", "needs tap=IFNAME, the name to create; an inherited fd is open");
  }
  if (!is_interface_name(*tap)) {
    return options.error("tap", fmt::format("is no interface name (1 to {} visible characters, "
                                            "none of / : %)",
                                            IFNAMSIZ - 1));
  }
  config.tap = *tap;
  return {};
}

Result<> parse_fds(const OptionText& options, NetConfig& config) {
  const auto text = options.text("fd");
  if (!text) return {};
  const char* at = text->data();
  const char* const end = at + text->size();
  while (true) {
    int fd = -1;
    const auto [stop, problem] = std::from_chars(at, end, fd);
    if (problem != std::errc() || fd <= 2 || (stop != end && *stop != ':'))
      return options.error("fd", "is no list N[:N...] of descriptors above 2");
    if (std::ranges::find(config.fds, fd) != config.fds.end())
      return options.error("fd", fmt::format("names descriptor {} twice", fd));
    if (config.fds.size() == kMaxNetQueuePairs)
      return options.error("fd", fmt::format("has more than {} descriptors", kMaxNetQueuePairs));
    config.fds.push_back(fd);
    if (stop == end) return {};
    at = stop + 1;
  }
}

Result<> parse_mac_key(const OptionText& options, NetConfig& config) {
  const auto text = options.text("mac");
  if (!text) return {};
  config.mac = parse_mac(*text);
  if (config.mac && config.mac->is_unicast()) return {};
  return options.error("mac", config.mac ? "is a group or zero address; an interface needs a "
                                           "unicast one, such as 52:54:00:12:34:56"
                                         : "is not of the form 52:54:00:12:34:56");
}

Result<> parse_queues(const OptionText& options, NetConfig& config) {
  GODWIT_ASSIGN(const auto queues, options.number("queues", 1, kMaxNetQueuePairs));
  const auto given = static_cast<uint16_t>(std::max<size_t>(config.fds.size(), 1));
  config.queue_pairs = static_cast<uint16_t>(queues.value_or(given));
  if (config.fds.empty() || config.queue_pairs == given) return {};
  return options.error(
      "queues",
      fmt::format("does not fit fd, which lists {}; give one descriptor per queue pair", given));
}

}  // namespace

Result<NetConfig> parse_net(std::string_view text, std::string_view default_id) {
  GODWIT_ASSIGN(const auto options, OptionText::parse(text, "network interface", kKeys));
  NetConfig config{.id = std::string(default_id)};
  GODWIT_TRY(parse_id(options, config));
  GODWIT_TRY(parse_tap(options, config));
  GODWIT_TRY(parse_fds(options, config));
  GODWIT_TRY(parse_mac_key(options, config));
  GODWIT_TRY(parse_queues(options, config));
  GODWIT_ASSIGN(config.offload, options.on_off("offload", true));
  GODWIT_ASSIGN(const auto mtu, options.number("mtu", kLeastMtu, kMostMtu));
  if (mtu) config.mtu = static_cast<uint16_t>(*mtu);
  GODWIT_ASSIGN(config.announce, options.on_off("announce", true));
  return config;
}

}  // namespace godwit::devices
