#include "devices/block/config.h"

#include <algorithm>
#include <array>
#include <bit>

#include "devices/options/options.h"

namespace godwit::devices {
namespace {

constexpr std::string_view kIdCharacters =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
constexpr std::array<std::string_view, 4> kSchemes{"nbd://", "nbds://", "nbd+unix://",
                                                   "nbds+unix://"};

Result<> check_id(const std::string& id) {
  if (id.empty() || id.size() > kMaxDiskIdBytes ||
      id.find_first_not_of(kIdCharacters) != std::string::npos) {
    return make_error(Errc::kInvalidArgument,
                      "disk: id={} is not 1 to {} characters of A-Z a-z 0-9 . _ -", id,
                      kMaxDiskIdBytes);
  }
  return {};
}

Result<> set_serial(DiskConfig& config, const Option& option) {
  GODWIT_ASSIGN(config.serial, parse_text("disk", option));
  const bool printable = std::all_of(config.serial.begin(), config.serial.end(),
                                     [](char c) { return c >= 0x20 && c < 0x7f; });
  if (config.serial.size() > kMaxDiskSerialBytes || !printable) {
    return make_error(Errc::kInvalidArgument,
                      "disk: serial={} is not 1 to {} printable ASCII characters", config.serial,
                      kMaxDiskSerialBytes);
  }
  return {};
}

Result<> set_nbd(DiskConfig& config, const Option& option) {
  GODWIT_ASSIGN(config.nbd_uri, parse_text("disk", option));
  for (const std::string_view scheme : kSchemes) {
    if (config.nbd_uri.starts_with(scheme)) return {};
  }
  return make_error(Errc::kInvalidArgument,
                    "disk: nbd={} is no NBD URI; it begins with nbd://, nbds://, nbd+unix:// or "
                    "nbds+unix://",
                    config.nbd_uri);
}

Result<> set_queue_size(DiskConfig& config, const Option& option) {
  GODWIT_ASSIGN(const uint64_t size,
                parse_number("disk", option, kMinDiskQueueSize, kMaxDiskQueueSize));
  if (!std::has_single_bit(size)) {
    return make_error(Errc::kInvalidArgument, "disk: queue-size={} is no power of two", size);
  }
  config.queue_size = static_cast<uint32_t>(size);
  return {};
}

Result<> set_direct(DiskConfig& config, const Option& option) {
  if (option.value == "auto") {
    config.direct = DirectMode::kAuto;
    return {};
  }
  const auto on = parse_switch("disk", option);
  if (!on) {
    return make_error(Errc::kInvalidArgument, "disk: direct={} is not on, off or auto",
                      *option.value);
  }
  config.direct = *on ? DirectMode::kOn : DirectMode::kOff;
  return {};
}

Result<> set_aio(DiskConfig& config, const Option& option) {
  const std::string value = option.value.value_or("");
  if (value != "auto" && value != "io_uring" && value != "threads") {
    return make_error(Errc::kInvalidArgument, "disk: aio={} is not auto, io_uring or threads",
                      value);
  }
  config.aio = value == "io_uring"  ? DiskAio::kUring
               : value == "threads" ? DiskAio::kThreads
                                    : DiskAio::kAuto;
  return {};
}

template <bool DiskConfig::*kMember>
Result<> set_switch(DiskConfig& config, const Option& option) {
  GODWIT_ASSIGN(config.*kMember, parse_switch("disk", option));
  return {};
}
template <std::string DiskConfig::*kMember>
Result<> set_text(DiskConfig& config, const Option& option) {
  GODWIT_ASSIGN(config.*kMember, parse_text("disk", option));
  return {};
}
Result<> set_id(DiskConfig& config, const Option& option) {
  config.id = option.value.value_or("");
  return check_id(config.id);
}
Result<> set_queues(DiskConfig& config, const Option& option) {
  GODWIT_ASSIGN(const uint64_t queues, parse_number("disk", option, 1, kMaxDiskQueues));
  config.queues = static_cast<uint16_t>(queues);
  return {};
}
Result<> set_reconnect(DiskConfig& config, const Option& option) {
  GODWIT_ASSIGN(const uint64_t seconds, parse_number("disk", option, 0, kMaxDiskReconnect.count()));
  config.reconnect = std::chrono::seconds(seconds);
  return {};
}

struct Key {
  std::string_view name;
  Result<> (*set)(DiskConfig&, const Option&);
  enum { kAny, kFile, kNbd } of = kAny;  // the kind of disk that it is for
};

constexpr std::array kKeys{
    Key{"id", set_id},
    Key{"path", set_text<&DiskConfig::path>},
    Key{"nbd", set_nbd},
    Key{"readonly", set_switch<&DiskConfig::read_only>},
    Key{"queues", set_queues},
    Key{"queue-size", set_queue_size},
    Key{"serial", set_serial},
    Key{"discard", set_switch<&DiskConfig::discard>},
    Key{"direct", set_direct, Key::kFile},
    Key{"aio", set_aio, Key::kFile},
    Key{"share", set_switch<&DiskConfig::share>, Key::kFile},
    Key{"lock", set_switch<&DiskConfig::lock>, Key::kFile},
    Key{"create", set_switch<&DiskConfig::create>, Key::kFile},
    Key{"tls-dir", set_text<&DiskConfig::tls_dir>, Key::kNbd},
    Key{"reconnect", set_reconnect, Key::kNbd},
};

const Key* find_key(std::string_view name) {
  const auto* const key =
      std::find_if(kKeys.begin(), kKeys.end(), [&](const Key& k) { return k.name == name; });
  return key == kKeys.end() ? nullptr : key;
}

Error unknown_key(std::string_view name) {
  std::string known;
  for (const Key& key : kKeys) known += fmt::format("{}{}", known.empty() ? "" : ", ", key.name);
  return make_error(Errc::kInvalidArgument, "disk: {} is not known; known are {}", name, known);
}

Result<> check_whole(const DiskConfig& config, const std::vector<Option>& options) {
  if (config.path.empty() == config.nbd_uri.empty()) {
    return make_error(Errc::kInvalidArgument,
                      "disk {}: give either path=FILE, path=/dev/DEVICE or nbd=URI", config.id);
  }
  for (const Option& option : options) {
    const Key* const key = find_key(option.key);
    if (key->of != Key::kAny && (key->of == Key::kNbd) != config.is_nbd()) {
      return make_error(Errc::kInvalidArgument, "disk {}: {} is for disks with {}; leave it out",
                        config.id, option.key, key->of == Key::kNbd ? "nbd=URI" : "path=");
    }
  }
  if (!config.tls_dir.empty() && !config.nbd_uri.starts_with("nbds")) {
    return make_error(Errc::kInvalidArgument,
                      "disk {}: tls-dir={} needs a URI with TLS, nbds:// or nbds+unix://, not {}",
                      config.id, config.tls_dir, config.nbd_uri);
  }
  if (!config.lock && config.share) {
    return make_error(Errc::kInvalidArgument,
                      "disk {}: share=on is told to others by a lock; leave out lock=off",
                      config.id);
  }
  if (config.create && config.share) {
    return make_error(
        Errc::kInvalidArgument,
        "disk {}: create=on is for a disk that comes with its guest, and share=on for "
        "one that is there already; leave one of them out",
        config.id);
  }
  return {};
}

}  // namespace

Result<DiskConfig> parse_disk(std::string_view text, std::string_view default_id) {
  GODWIT_ASSIGN(const auto options, split_options("disk", text));
  DiskConfig config;
  config.id = default_id;
  for (const Option& option : options) {
    const Key* const key = find_key(option.key);
    if (key == nullptr) return unknown_key(option.key);
    GODWIT_TRY(key->set(config, option));
  }
  GODWIT_TRY(check_id(config.id));
  GODWIT_TRY(check_whole(config, options));
  return config;
}

}  // namespace godwit::devices
