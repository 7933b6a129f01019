#include "devices/net/tap_open.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "devices/net/link.h"
#include "tests/net/network_fixture.h"
#include "vmm/base/syscall.h"

namespace godwit::devices {
namespace {

using testing::HasSubstr;

class TapOpen : public NetworkTest {
 protected:
  static Result<OpenTap> open(std::string_view options) {
    return open_tap(parse_net(options, "net0").value());
  }
  static void expect_refused(std::string_view options, Errc code, std::string_view text) {
    const auto result = open(options);
    ASSERT_FALSE(result) << options;
    EXPECT_EQ(result.error().code, code) << result.error().message;
    EXPECT_THAT(result.error().message, HasSubstr(std::string(text)));
  }
  // As another program would, or one that starts us.
  static UniqueFd attach(const std::string& name, int flags) {
    UniqueFd fd(::open("/dev/net/tun", O_RDWR));
    ifreq request{};
    name.copy(request.ifr_name, IFNAMSIZ - 1);
    request.ifr_flags = static_cast<short>(flags);
    check_syscall(::ioctl(fd.get(), TUNSETIFF, &request), "TUNSETIFF");
    return fd;
  }
  static LinkInfo link(const std::string& name) { return find_link(name).value().value(); }
};

TEST_F(TapOpen, LeavesAGivenInterfaceAsItWas) {
  ip("tuntap add dev t0 mode tap");
  ip("link set t0 mtu 1400");
  {
    const auto tap = open("tap=t0").value();
    EXPECT_EQ(tap.name, "t0");
    EXPECT_EQ(tap.queues.size(), 1u);
    EXPECT_EQ(tap.mtu, 1400);
    EXPECT_FALSE(link("t0").up);
    int header = 0;
    ASSERT_EQ(::ioctl(tap.queues[0].get(), TUNGETVNETHDRSZ, &header), 0);
    EXPECT_EQ(header, 12);
    EXPECT_NE(::fcntl(tap.queues[0].get(), F_GETFL) & O_NONBLOCK, 0);
  }
  EXPECT_TRUE(open("tap=t0")) << "it was let go";
}

TEST_F(TapOpen, ACreatedInterfaceIsUpAndGoesWithItsQueues) {
  {
    const auto tap = open("tap=t0,create=on,mtu=9000,queues=2").value();
    EXPECT_TRUE(link("t0").up);
    EXPECT_TRUE(link("t0").multi_queue);
    EXPECT_EQ(link("t0").mtu, 9000u);
    EXPECT_EQ(tap.mtu, 9000);
    EXPECT_EQ(tap.queues.size(), 2u);
    EXPECT_EQ(link("t0").queues, 2u);
  }
  EXPECT_FALSE(exists("t0"));
}

TEST_F(TapOpen, SaysThatAnInterfaceIsMissingAndMakesNone) {
  expect_refused("tap=t0", Errc::kNotFound,
                 "'t0' does not exist; make it (ip tuntap add dev t0 "
                 "mode tap), or add create=on");
  expect_refused("tap=t0,queues=2", Errc::kNotFound, "mode tap multi_queue)");
  EXPECT_FALSE(exists("t0"));
}

TEST_F(TapOpen, DoesNotCreateWhatExists) {
  ip("tuntap add dev t0 mode tap");
  expect_refused("tap=t0,create=on", Errc::kAlreadyExists, "'t0' exists already");
}

TEST_F(TapOpen, SaysThatAnotherProgramHasIt) {
  ip("tuntap add dev t0 mode tap");
  ip("tuntap add dev t1 mode tap multi_queue");
  const UniqueFd other = attach("t0", IFF_TAP | IFF_NO_PI);
  const UniqueFd other_queue = attach("t1", IFF_TAP | IFF_NO_PI | IFF_MULTI_QUEUE);
  expect_refused("tap=t0", Errc::kAlreadyExists, "'t0' is busy: another program has it open");
  expect_refused("tap=t1", Errc::kAlreadyExists, "'t1' is busy");
  expect_refused("tap=t1,queues=2", Errc::kAlreadyExists, "'t1' is busy");
  EXPECT_EQ(link("t1").queues, 1u) << "nothing stays attached";
}

TEST_F(TapOpen, SaysWhatIsNoTap) {
  ip("tuntap add dev t0 mode tun");
  expect_refused("tap=t0", Errc::kInvalidArgument, "'t0' is a tun (IP packets");
  expect_refused("tap=lo", Errc::kInvalidArgument, "'lo' is a hardware or loopback");
  if (try_ip("link add v0 type veth peer name v1"))
    expect_refused("tap=v0", Errc::kInvalidArgument, "'v0' is of the kind veth, not a tap");
}

TEST_F(TapOpen, SaysThatASingleQueueIsNotEnough) {
  ip("tuntap add dev t0 mode tap");
  expect_refused("tap=t0,queues=2", Errc::kInvalidArgument,
                 "'t0' has a single queue, 2 queue pairs are asked for");
}

TEST_F(TapOpen, OneQueueOfAMultiQueueInterfaceWillDo) {
  ip("tuntap add dev t0 mode tap multi_queue");
  EXPECT_EQ(open("tap=t0").value().queues.size(), 1u);
  EXPECT_EQ(open("tap=t0,queues=8").value().queues.size(), 8u);
}

TEST_F(TapOpen, SaysThatTheMtuIsTooSmall) {
  ip("tuntap add dev t0 mode tap");
  expect_refused("tap=t0,mtu=1501", Errc::kInvalidArgument, "'t0' has an MTU of 1500");
  EXPECT_TRUE(open("tap=t0,mtu=1500"));
}

TEST_F(TapOpen, SaysThatTheUserMayNot) {
  ip("tuntap add dev t0 mode tap");
  constexpr uid_t kNobody = 65534;
  check_syscall(::seteuid(kNobody), "seteuid");
  const auto given = open("tap=t0");
  const auto created = open("tap=t1,create=on");
  check_syscall(::seteuid(0), "seteuid");
  ASSERT_FALSE(given);
  ASSERT_FALSE(created);
  EXPECT_EQ(given.error().code, Errc::kPermission) << given.error().message;
  EXPECT_EQ(created.error().code, Errc::kPermission) << created.error().message;
}

TEST_F(TapOpen, TakesInheritedQueuesOver) {
  constexpr int kFlags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_MULTI_QUEUE;
  const int a = attach("t0", kFlags).release(), b = attach("t0", kFlags).release();
  {
    const auto tap = open(fmt::format("fd={}:{}", b, a)).value();
    EXPECT_EQ(tap.name, "t0");
    EXPECT_EQ(tap.mtu, 1500);
    ASSERT_EQ(tap.queues.size(), 2u);
    EXPECT_EQ(tap.queues[0].get(), b);
    EXPECT_NE(::fcntl(a, F_GETFL) & O_NONBLOCK, 0);
    EXPECT_NE(::fcntl(a, F_GETFD) & FD_CLOEXEC, 0);
  }
  EXPECT_EQ(::fcntl(a, F_GETFD), -1) << "closed with it";
  EXPECT_FALSE(exists("t0"));
}

TEST_F(TapOpen, ASingleInheritedQueueWillDo) {
  const int fd = attach("t0", IFF_TAP | IFF_NO_PI | IFF_VNET_HDR).release();
  const auto tap = open(fmt::format("fd={}", fd)).value();
  EXPECT_EQ(tap.mtu, 1500);
}

TEST_F(TapOpen, RefusesOtherDescriptorsAndLeavesThemOpen) {
  const UniqueFd null(::open("/dev/null", O_RDWR));
  const UniqueFd bare = attach("t0", IFF_TAP | IFF_NO_PI);
  const UniqueFd one = attach("t1", IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_MULTI_QUEUE);
  const UniqueFd two = attach("t2", IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_MULTI_QUEUE);
  const auto text = [](const UniqueFd& fd) { return fmt::format("fd={}", fd.get()); };
  expect_refused("fd=900", Errc::kNotFound, "descriptor 900 is not open");
  const auto no_tap = open(text(null));
  ASSERT_FALSE(no_tap);
  EXPECT_THAT(no_tap.error().message, HasSubstr("is no tap"));
  expect_refused(text(bare), Errc::kInvalidArgument, "IFF_VNET_HDR");
  expect_refused(fmt::format("{}:{}", text(one), two.get()), Errc::kInvalidArgument,
                 "belongs to 't2', one before it to 't1'");
  for (const UniqueFd* fd : {&null, &bare, &one, &two}) EXPECT_NE(::fcntl(fd->get(), F_GETFD), -1);
}

}  // namespace
}  // namespace godwit::devices
