#include "devices/net/tap_open.h"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>

#include <cerrno>

#include "devices/net/link.h"
#include "devices/net/net_backend.h"

namespace godwit::devices {
namespace {

constexpr const char* kTunPath = "/dev/net/tun";

Error not_found(const std::string& name, size_t queues) {
  return make_error(Errc::kNotFound,
                    "network interface '{}' does not exist; make it (ip tuntap add dev {} mode "
                    "tap{}), or add create=on",
                    name, name, queues > 1 ? " multi_queue" : "");
}

Error busy(const std::string& name) {
  return make_error(
      Errc::kAlreadyExists,
      "tap interface '{}' is busy: another program has it open; stop that one or "
      "name another interface (source and target of a move on one host need one each)",
      name);
}

Error not_a_tap(const std::string& name, std::string_view what_it_is) {
  return make_error(Errc::kInvalidArgument,
                    "network interface '{}' is {}, not a tap; name a tap interface (ip tuntap "
                    "shows them), which may be a port of a bridge",
                    name, what_it_is);
}

Error single_queue(const std::string& name, size_t queues) {
  return make_error(Errc::kInvalidArgument,
                    "tap interface '{}' has a single queue, {} queue pairs are asked for; make it "
                    "with multi_queue (ip tuntap add dev {} mode tap multi_queue) or take queues=1",
                    name, queues, name);
}

// What can be said before the interface is touched.
Result<> check_link(const NetConfig& config, const std::optional<LinkInfo>& link) {
  if (config.create) {
    if (!link) return {};
    return make_error(Errc::kAlreadyExists,
                      "network interface '{}' exists already; leave create=on out to use it, or "
                      "name another",
                      config.tap);
  }
  if (!link) return not_found(config.tap, config.queue_pairs);
  if (link->kind != "tun")
    return not_a_tap(config.tap, link->kind.empty() ? "a hardware or loopback interface"
                                                    : fmt::format("of the kind {}", link->kind));
  if (!link->tap) return not_a_tap(config.tap, "a tun (IP packets without Ethernet)");
  if (link->queues > 0) return busy(config.tap);
  if (config.queue_pairs > 1 && !link->multi_queue)
    return single_queue(config.tap, config.queue_pairs);
  return {};
}

// Of an existing interface; a created one is given the wanted MTU.
Result<> check_mtu(const NetConfig& config, const std::string& name, uint32_t mtu) {
  if (!config.mtu || *config.mtu <= mtu) return {};
  return make_error(Errc::kInvalidArgument,
                    "network interface '{}' has an MTU of {}, less than the mtu={} asked for; "
                    "raise it (ip link set dev {} mtu {}) or ask for less",
                    name, mtu, *config.mtu, name, *config.mtu);
}

Result<UniqueFd> open_device() {
  UniqueFd fd(::open(kTunPath, O_RDWR | O_CLOEXEC | O_NONBLOCK));
  if (fd) return fd;
  if (errno == ENOENT || errno == ENODEV || errno == ENXIO) {
    return make_error(Errc::kUnsupported,
                      "{} is missing: this host has no tap interfaces; load the module "
                      "(modprobe tun), or pass the device into the container",
                      kTunPath);
  }
  return error_from_errno(
      errno, fmt::format("opening {} failed; run as a user that may open it", kTunPath));
}

Error attach_error(int errno_value, const NetConfig& config) {
  switch (errno_value) {
    case EBUSY:
      return busy(config.tap);
    case EPERM:
    case EACCES:
      return error_from_errno(
          errno_value,
          fmt::format("tap interface '{}' is not open to this user; {}", config.tap,
                      config.create
                          ? "creating one needs CAP_NET_ADMIN"
                          : "take CAP_NET_ADMIN, or make it with \"user NAME\" (ip tuntap add)"));
    default:
      return error_from_errno(
          errno_value,
          fmt::format("tap interface '{}': attaching to it (TUNSETIFF) failed", config.tap));
  }
}

Result<UniqueFd> attach_queue(const NetConfig& config, bool multi_queue, bool first) {
  GODWIT_ASSIGN(UniqueFd fd, open_device());
  ifreq request{};
  config.tap.copy(request.ifr_name, IFNAMSIZ - 1);
  unsigned flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
  if (multi_queue) flags |= IFF_MULTI_QUEUE;
  // Somebody may have made one of that name since we looked.
  if (config.create && first) flags |= IFF_TUN_EXCL;
  request.ifr_flags = static_cast<short>(flags);
  if (::ioctl(fd.get(), TUNSETIFF, &request) != 0) return attach_error(errno, config);
  return fd;
}

// The header's size and byte order are the interface's for a tap, a queue's own for a macvtap.
Result<> set_up_queue(int fd, const std::string& name) {
  const int size = kVnetHeaderBytes, little_endian = 1;
  if (::ioctl(fd, TUNSETVNETHDRSZ, &size) == 0 && ::ioctl(fd, TUNSETVNETLE, &little_endian) == 0 &&
      ::ioctl(fd, TUNSETOFFLOAD, 0) == 0)
    return {};
  return error_from_errno(errno, fmt::format("tap interface '{}': setting up its packet header "
                                             "failed; this needs Linux 4.0 or newer",
                                             name));
}

// The kernel lets any number of programs share the queues of a multi-queue tap, and two guests
// would each see a part of the frames; and it makes an interface that is not there.
Result<> check_attached(const NetConfig& config, const std::optional<LinkInfo>& before,
                        const std::optional<LinkInfo>& now) {
  if (!now || (before && before->index != now->index))
    return not_found(config.tap, config.queue_pairs);
  if (now->queues > config.queue_pairs) return busy(config.tap);
  return {};
}

Result<OpenTap> open_named(const NetConfig& config) {
  GODWIT_ASSIGN(const auto before, find_link(config.tap));
  GODWIT_TRY(check_link(config, before));
  if (before) GODWIT_TRY(check_mtu(config, config.tap, before->mtu));
  const bool multi_queue = before ? before->multi_queue : config.queue_pairs > 1;
  OpenTap tap{.name = config.tap};
  for (size_t i = 0; i < config.queue_pairs; ++i) {
    GODWIT_ASSIGN(UniqueFd fd, attach_queue(config, multi_queue, i == 0));
    GODWIT_TRY(set_up_queue(fd.get(), tap.name));
    tap.queues.push_back(std::move(fd));
  }
  if (config.create && config.mtu) GODWIT_TRY(set_link_mtu(tap.name, *config.mtu));
  if (config.create) GODWIT_TRY(set_link_up(tap.name));
  GODWIT_ASSIGN(const auto now, find_link(tap.name));
  GODWIT_TRY(check_attached(config, before, now));
  tap.mtu = static_cast<uint16_t>(std::min<uint32_t>(now->mtu, kMostMtu));
  return tap;
}

// The name of the tap behind an inherited descriptor.
Result<std::string> inherited_name(int fd, size_t count) {
  ifreq request{};
  if (::fcntl(fd, F_GETFD) < 0) {
    return make_error(Errc::kNotFound,
                      "network interface: descriptor {} is not open; the program that starts this "
                      "one has to leave it open",
                      fd);
  }
  if (::ioctl(fd, TUNGETIFF, &request) != 0) {
    return error_from_errno(
        errno, fmt::format("network interface: descriptor {} is no tap; open {} and attach it "
                           "(TUNSETIFF) first",
                           fd, kTunPath));
  }
  const unsigned flags = static_cast<uint16_t>(request.ifr_flags);
  const unsigned wanted =
      IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | (count > 1 ? static_cast<unsigned>(IFF_MULTI_QUEUE) : 0);
  if ((flags & wanted) == wanted) return std::string(request.ifr_name);
  return make_error(Errc::kInvalidArgument,
                    "network interface '{}': descriptor {} has the flags {:#x}, of {:#x} it needs "
                    "(IFF_TAP, IFF_NO_PI, IFF_VNET_HDR{}); attach it with those",
                    request.ifr_name, fd, flags, wanted, count > 1 ? ", IFF_MULTI_QUEUE" : "");
}

// The interface may be in a namespace that this process doesn't see.
Result<std::optional<uint16_t>> inherited_mtu(const NetConfig& config, const std::string& name) {
  GODWIT_ASSIGN(const auto link, find_link(name));
  if (!link || (link->multi_queue && link->queues == 0)) return std::optional<uint16_t>();
  GODWIT_TRY(check_mtu(config, name, link->mtu));
  return std::optional(static_cast<uint16_t>(std::min<uint32_t>(link->mtu, kMostMtu)));
}

Result<OpenTap> take_inherited(const NetConfig& config) {
  OpenTap tap;
  for (const int fd : config.fds) {
    GODWIT_ASSIGN(std::string name, inherited_name(fd, config.fds.size()));
    if (!tap.name.empty() && name != tap.name) {
      return make_error(Errc::kInvalidArgument,
                        "network interface: descriptor {} belongs to '{}', one before it to '{}'; "
                        "pass queues of one interface",
                        fd, name, tap.name);
    }
    tap.name = std::move(name);
  }
  GODWIT_ASSIGN(tap.mtu, inherited_mtu(config, tap.name));
  for (const int fd : config.fds) GODWIT_TRY(set_up_queue(fd, tap.name));
  for (const int fd : config.fds) {
    ::fcntl(fd, F_SETFD, FD_CLOEXEC);
    ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK);
    tap.queues.emplace_back(fd);
  }
  return tap;
}

}  // namespace

Result<OpenTap> open_tap(const NetConfig& config) {
  return config.fds.empty() ? open_named(config) : take_inherited(config);
}

}  // namespace godwit::devices
