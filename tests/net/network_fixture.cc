#include "tests/net/network_fixture.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <sstream>

#include "devices/net/ethernet.h"
#include "vmm/base/syscall.h"

namespace godwit::devices {
namespace {

constexpr int kWaitMs = 5000;

uint16_t type_of(const Bytes& frame, size_t header = 0) {
  return frame.size() < header + kEthernetHeaderBytes ? 0 : big_endian_16(frame, header + 12);
}

bool readable(int fd, bool wait) {
  pollfd set{fd, POLLIN, 0};
  return ::poll(&set, 1, wait ? kWaitMs : 0) == 1;
}

int run_ip(std::string_view words, bool quiet) {
  std::vector<std::string> arguments = {"ip"};
  std::istringstream stream{std::string(words)};
  for (std::string word; stream >> word;) arguments.push_back(word);
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  for (const int output : {1, 2}) {
    if (quiet) ::posix_spawn_file_actions_addopen(&actions, output, "/dev/null", O_WRONLY, 0);
  }
  pid_t pid = 0;
  const int problem = ::posix_spawnp(&pid, "ip", &actions, nullptr, argv.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  int status = 0;
  if (problem != 0 || ::waitpid(pid, &status, 0) != pid) return -1;
  return status;
}

}  // namespace

PacketSocket::PacketSocket(const std::string& interface)
    : fd_(check_syscall(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(0x0003)), "socket")) {
  sockaddr_ll address{};
  address.sll_family = AF_PACKET;
  address.sll_protocol = htons(0x0003);  // ETH_P_ALL
  address.sll_ifindex = static_cast<int>(::if_nametoindex(interface.c_str()));
  check_syscall(::bind(fd_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address),
                "bind");
}

void PacketSocket::send(const Bytes& frame) {
  check_syscall(::send(fd_.get(), frame.data(), frame.size(), 0), "send");
}

Bytes PacketSocket::receive(uint16_t type, bool wait) {
  while (readable(fd_.get(), wait)) {
    Bytes frame(kMaxNetFrameBytes);
    sockaddr_ll from{};
    socklen_t length = sizeof from;
    const ssize_t n = ::recvfrom(fd_.get(), frame.data(), frame.size(), 0,
                                 reinterpret_cast<sockaddr*>(&from), &length);
    if (n < 0) break;
    frame.resize(static_cast<size_t>(n));
    if (type_of(frame) == type && from.sll_pkttype != PACKET_OUTGOING) return frame;
  }
  return {};
}

void NetworkTest::SetUp() {
  if (::geteuid() != 0) GTEST_SKIP() << "network namespaces and taps need root";
  if (::access("/dev/net/tun", R_OK | W_OK) != 0) GTEST_SKIP() << "no /dev/net/tun here";
  if (run_ip("-V", true) != 0) GTEST_SKIP() << "no ip(8) here: install iproute2";
  home_ = UniqueFd(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
  if (!home_ || ::unshare(CLONE_NEWNET) != 0) {
    home_.reset();
    GTEST_SKIP() << "this host gives no network namespace";
  }
  // The host's own multicasts would come between the frames of a test. No such file: no IPv6.
  const UniqueFd ipv6(::open("/proc/sys/net/ipv6/conf/default/disable_ipv6", O_WRONLY | O_CLOEXEC));
  if (ipv6) check_syscall(::write(ipv6.get(), "1", 1), "disable_ipv6");
}

void NetworkTest::TearDown() {
  if (home_) check_syscall(::setns(home_.get(), CLONE_NEWNET), "setns");
}

void NetworkTest::ip(std::string_view words) {
  ASSERT_EQ(run_ip(words, false), 0) << "ip " << words;
}

bool NetworkTest::try_ip(std::string_view words) {
  return run_ip(words, true) == 0;
}

bool NetworkTest::exists(const std::string& interface) {
  return ::if_nametoindex(interface.c_str()) != 0;
}

Bytes numbered_frame(uint16_t number) {
  Bytes frame(kLeastEthernetBytes);
  std::fill_n(frame.begin(), 6, std::byte{0xff});
  frame[6] = std::byte{0x52};
  frame[12] = std::byte{kExperimentalType >> 8};
  frame[13] = std::byte{kExperimentalType & 0xff};
  frame[14] = std::byte(number >> 8);
  frame[15] = std::byte(number & 0xff);
  return frame;
}

NetResult guest_sends(NetBackend& backend, size_t pair, const Bytes& frame, const Bytes& header) {
  const std::array<iovec, 2> pieces = {{{const_cast<std::byte*>(header.data()), header.size()},
                                        {const_cast<std::byte*>(frame.data()), frame.size()}}};
  return backend.send(pair, pieces);
}

Bytes guest_receives(NetBackend& backend, uint16_t type, bool wait, size_t pairs) {
  Bytes buffer(kMaxNetFrameBytes);
  // In two pieces, as a guest's buffers are.
  const std::array<iovec, 2> pieces = {
      {{buffer.data(), 100}, {buffer.data() + 100, buffer.size() - 100}}};
  while (true) {
    std::vector<pollfd> set;
    for (size_t i = 0; i < pairs; ++i) set.push_back({backend.poll_fd(i), POLLIN, 0});
    if (::poll(set.data(), set.size(), wait ? kWaitMs : 0) <= 0) return {};
    for (size_t i = 0; i < pairs; ++i) {
      const NetReceived received = backend.receive(i, pieces);
      if (received.result != NetResult::kDone) {
        if (set[i].revents != 0) return {};
        continue;
      }
      const Bytes frame(buffer.begin(), buffer.begin() + static_cast<ptrdiff_t>(received.bytes));
      if (type_of(frame, kVnetHeaderBytes) == type) return frame;
    }
  }
}

Bytes without_header(const Bytes& frame) {
  return {frame.begin() + static_cast<ptrdiff_t>(std::min(frame.size(), kVnetHeaderBytes)),
          frame.end()};
}

}  // namespace godwit::devices
