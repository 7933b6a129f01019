#include "devices/net/link.h"

#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <span>
#include <vector>

#include "vmm/base/fd.h"

namespace godwit::devices {
namespace {

constexpr size_t kReplyBytes = 64u << 10;
constexpr int kReplyTimeoutMs = 5000;

Error link_error(int errno_value, const std::string& name, std::string_view what) {
  return error_from_errno(errno_value,
                          fmt::format("network interface '{}': {} failed", name, what));
}

// The attributes in `bytes`, which the kernel made. Call: visit(type, payload).
template <class Visit>
void for_each_attribute(std::span<const std::byte> bytes, Visit&& visit) {
  while (bytes.size() >= sizeof(rtattr)) {
    rtattr header;
    std::memcpy(&header, bytes.data(), sizeof header);
    if (header.rta_len < sizeof header || header.rta_len > bytes.size()) return;
    visit(header.rta_type & NLA_TYPE_MASK,
          bytes.subspan(sizeof header, header.rta_len - sizeof header));
    bytes = bytes.subspan(std::min<size_t>(RTA_ALIGN(header.rta_len), bytes.size()));
  }
}

template <class T>
T as(std::span<const std::byte> payload) {
  T value{};
  std::memcpy(&value, payload.data(), std::min(sizeof value, payload.size()));
  return value;
}

void read_tun(std::span<const std::byte> attributes, LinkInfo& info) {
  for_each_attribute(attributes, [&](int type, std::span<const std::byte> payload) {
    if (type == IFLA_TUN_TYPE) info.tap = as<uint8_t>(payload) == IFF_TAP;
    if (type == IFLA_TUN_MULTI_QUEUE) info.multi_queue = as<uint8_t>(payload) != 0;
    if (type == IFLA_TUN_NUM_QUEUES || type == IFLA_TUN_NUM_DISABLED_QUEUES)
      info.queues += as<uint32_t>(payload);
  });
}

void read_kind(std::span<const std::byte> attributes, LinkInfo& info) {
  std::span<const std::byte> data;
  for_each_attribute(attributes, [&](int type, std::span<const std::byte> payload) {
    if (type == IFLA_INFO_KIND) {
      const auto* const text = reinterpret_cast<const char*>(payload.data());
      info.kind.assign(text, ::strnlen(text, payload.size()));
    }
    if (type == IFLA_INFO_DATA) data = payload;
  });
  if (info.kind == "tun") read_tun(data, info);
}

// `reply` is one message of the type RTM_NEWLINK.
LinkInfo read_link(std::span<const std::byte> reply) {
  const auto body = reply.subspan(NLMSG_HDRLEN);
  const auto header = as<ifinfomsg>(body);
  LinkInfo info{.index = static_cast<uint32_t>(header.ifi_index),
                .up = (header.ifi_flags & IFF_UP) != 0};
  const auto attributes = body.subspan(std::min<size_t>(NLMSG_ALIGN(sizeof header), body.size()));
  for_each_attribute(attributes, [&](int type, std::span<const std::byte> payload) {
    if (type == IFLA_MTU) info.mtu = as<uint32_t>(payload);
    if (type == IFLA_LINKINFO) read_kind(payload, info);
  });
  return info;
}

std::vector<std::byte> link_request(const std::string& name) {
  struct Request {
    nlmsghdr header;
    ifinfomsg link;
    rtattr mask_header;
    uint32_t mask;
    rtattr name_header;
    std::array<char, IFNAMSIZ> name;
  } request{};
  request.header = {.nlmsg_len = sizeof request,
                    .nlmsg_type = RTM_GETLINK,
                    .nlmsg_flags = NLM_F_REQUEST,
                    .nlmsg_seq = 1};
  request.link.ifi_family = AF_UNSPEC;
  request.mask_header = {.rta_len = RTA_LENGTH(sizeof(uint32_t)), .rta_type = IFLA_EXT_MASK};
  request.mask = RTEXT_FILTER_SKIP_STATS;
  request.name_header = {.rta_len = RTA_LENGTH(IFNAMSIZ), .rta_type = IFLA_IFNAME};
  name.copy(request.name.data(), IFNAMSIZ - 1);
  const auto* const bytes = reinterpret_cast<const std::byte*>(&request);
  return {bytes, bytes + sizeof request};
}

// One question, one answer. Empty with errno set when it fails.
std::vector<std::byte> ask_netlink(std::span<const std::byte> request) {
  const UniqueFd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
  if (!fd || ::send(fd.get(), request.data(), request.size(), 0) < 0) return {};
  pollfd readable{fd.get(), POLLIN, 0};
  if (::poll(&readable, 1, kReplyTimeoutMs) == 0) errno = ETIMEDOUT;
  if (readable.revents == 0) return {};
  std::vector<std::byte> reply(kReplyBytes);
  const ssize_t n = ::recv(fd.get(), reply.data(), reply.size(), 0);
  reply.resize(n > 0 ? static_cast<size_t>(n) : 0);
  return reply;
}

Result<> interface_ioctl(const std::string& name, unsigned long request, ifreq& argument,
                         std::string_view what) {
  const UniqueFd fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  name.copy(argument.ifr_name, IFNAMSIZ - 1);
  if (!fd || ::ioctl(fd.get(), request, &argument) != 0) return link_error(errno, name, what);
  return {};
}

}  // namespace

Result<std::optional<LinkInfo>> find_link(const std::string& name) {
  const auto reply = ask_netlink(link_request(name));
  if (reply.size() < NLMSG_HDRLEN) return link_error(errno, name, "looking it up (RTM_GETLINK)");
  const auto header = as<nlmsghdr>(reply);
  if (header.nlmsg_type == RTM_NEWLINK && header.nlmsg_len <= reply.size())
    return std::optional(read_link(std::span(reply).first(header.nlmsg_len)));
  const int problem =
      header.nlmsg_type == NLMSG_ERROR
          ? -as<nlmsgerr>(std::span<const std::byte>(reply).subspan(NLMSG_HDRLEN)).error
          : EBADMSG;
  if (problem == ENODEV) return std::optional<LinkInfo>();
  return link_error(problem, name, "looking it up (RTM_GETLINK)");
}

Result<> set_link_up(const std::string& name) {
  ifreq request{};
  GODWIT_TRY(interface_ioctl(name, SIOCGIFFLAGS, request, "reading its flags (SIOCGIFFLAGS)"));
  request.ifr_flags |= IFF_UP;
  return interface_ioctl(name, SIOCSIFFLAGS, request, "bringing it up (SIOCSIFFLAGS)");
}

Result<> set_link_mtu(const std::string& name, uint16_t mtu) {
  ifreq request{};
  request.ifr_mtu = mtu;
  return interface_ioctl(name, SIOCSIFMTU, request,
                         fmt::format("setting an MTU of {} (SIOCSIFMTU)", mtu));
}

}  // namespace godwit::devices
