#include "devices/net/net_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>

#include "devices/options/option_text.h"

namespace godwit::devices {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::string refusal(std::string_view text) {
  const auto result = parse_net(text, "net0");
  if (result) return "(accepted)";
  EXPECT_EQ(result.error().code, Errc::kInvalidArgument);
  return result.error().message;
}

TEST(OptionText, TwoCommasStandForOneInAValue) {
  constexpr std::array<std::string_view, 2> kKnown = {"a", "b"};
  const auto text = OptionText::parse("a=x,,y,,,b=,,", "thing", kKnown).value();
  EXPECT_EQ(text.text("a"), "x,y,");
  EXPECT_EQ(text.text("b"), ",");
  EXPECT_EQ(OptionText::parse("a=b=c", "thing", kKnown).value().text("a"), "b=c");
  EXPECT_EQ(OptionText::parse("", "thing", kKnown).value().text("a"), std::nullopt);
}

TEST(OptionText, RefusesWhatIsNoListOfKnownKeys) {
  constexpr std::array<std::string_view, 2> kKnown = {"a", "b"};
  const auto message = [&](std::string_view text) {
    const auto result = OptionText::parse(text, "thing", kKnown);
    return result ? "(accepted)" : result.error().message;
  };
  EXPECT_THAT(message("c=1"), HasSubstr("thing 'c=1': 'c' is not known; known are a, b"));
  EXPECT_THAT(message("a=1,b=2,a=1"), HasSubstr("a is given twice"));
  EXPECT_THAT(message("a"), HasSubstr("a has no value; write a=VALUE"));
  EXPECT_THAT(message("a="), HasSubstr("a has no value"));
  for (const auto* const text : {"a=1,", ",a=1", ",", "=1"})
    EXPECT_THAT(message(text), HasSubstr("holds no key")) << text;
  for (const auto* const text : {"A=1", " a=1"})
    EXPECT_THAT(message(text), HasSubstr("is not known")) << text;
  EXPECT_THAT(message(std::string_view("a=\0", 3)), HasSubstr("zero byte"));
}

TEST(ParseNet, FillsInWhatIsNotSaid) {
  const auto config = parse_net("tap=tap0", "net3").value();
  EXPECT_EQ(config.id, "net3");
  EXPECT_EQ(config.tap, "tap0");
  EXPECT_FALSE(config.create);
  EXPECT_TRUE(config.fds.empty());
  EXPECT_FALSE(config.mac);
  EXPECT_EQ(config.queue_pairs, 1);
  EXPECT_TRUE(config.offload);
  EXPECT_FALSE(config.mtu);
  EXPECT_TRUE(config.announce);
}

TEST(ParseNet, TakesEveryKey) {
  const auto config = parse_net(
                          "id=front.1_a-B,tap=br-guest.7,create=on,mac=52:54:00:Ab:cD:0f,queues=8,"
                          "offload=off,mtu=9000,announce=off",
                          "net0")
                          .value();
  EXPECT_EQ(config.id, "front.1_a-B");
  EXPECT_EQ(config.tap, "br-guest.7");
  EXPECT_TRUE(config.create);
  EXPECT_EQ(to_string(*config.mac), "52:54:00:ab:cd:0f");
  EXPECT_EQ(config.queue_pairs, 8);
  EXPECT_FALSE(config.offload);
  EXPECT_EQ(config.mtu, 9000);
  EXPECT_FALSE(config.announce);
}

TEST(ParseNet, InheritedDescriptorsCountTheQueues) {
  const auto config = parse_net("fd=7:12:9", "net0").value();
  EXPECT_THAT(config.fds, ElementsAre(7, 12, 9));
  EXPECT_EQ(config.queue_pairs, 3);
  EXPECT_EQ(parse_net("fd=7:12,queues=2", "net0")->queue_pairs, 2);
  EXPECT_THAT(refusal("fd=7:12,queues=3"), HasSubstr("queues=3 does not fit fd, which lists 2"));
  EXPECT_THAT(refusal("fd=7:7"), HasSubstr("twice"));
  EXPECT_THAT(refusal("fd=3:4:5:6:7:8:9:10:11"), HasSubstr("more than 8"));
  for (const auto* const fd : {"2", "-1", "x", "7:", ":7", "7,,8", "99999999999"})
    EXPECT_THAT(refusal(fmt::format("fd={}", fd)), HasSubstr("is no list N[:N...]")) << fd;
}

TEST(ParseNet, SaysWhatIsWrongWithAValue) {
  EXPECT_THAT(refusal(""), HasSubstr("neither tap nor fd is given"));
  EXPECT_THAT(refusal("tap=a,fd=3"), HasSubstr("exclude each other"));
  EXPECT_THAT(refusal("fd=3,create=on"), HasSubstr("needs tap=IFNAME"));
  EXPECT_THAT(refusal("tap=t,bridge=br0"), HasSubstr("'bridge' is not known; known are id, tap"));
  EXPECT_THAT(refusal("tap=t,queues=9"), HasSubstr("queues=9 is no whole number from 1 to 8"));
  EXPECT_THAT(refusal("tap=t,queues=0"), HasSubstr("queues=0 is no whole number"));
  EXPECT_THAT(refusal("tap=t,mtu=67"), HasSubstr("mtu=67 is no whole number from 68 to 65521"));
  EXPECT_THAT(refusal("tap=t,mtu=1500x"), HasSubstr("mtu=1500x is no whole number"));
  EXPECT_THAT(refusal("tap=t,offload=yes"), HasSubstr("offload=yes is neither on nor off"));
  for (const auto* const name : {"sixteen-letters.", ".", "..", "a/b", "a b", "a:b", "tap%d"})
    EXPECT_THAT(refusal(fmt::format("tap={}", name)), HasSubstr("is no interface name")) << name;
  for (const std::string& id : {std::string("a b"), std::string("ä"), std::string(49, 'a')})
    EXPECT_THAT(refusal("tap=t,id=" + id), HasSubstr("is no name of 1 to 48")) << id;
  EXPECT_TRUE(parse_net("tap=fifteen-letters,id=" + std::string(48, 'a'), "net0"));
}

TEST(ParseNet, TheMacMustBeUnicast) {
  for (const auto* const mac : {"52:54:00:12:34", "52:54:00:12:34:5", "52:54:00:12:34:56:", "",
                                "52-54-00-12-34-56", "52:54:00:12:34:5g", "+2:54:00:12:34:56"})
    EXPECT_FALSE(parse_net(fmt::format("tap=t,mac={}", mac), "net0")) << mac;
  for (const auto* const mac : {"ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:01", "00:00:00:00:00:00"})
    EXPECT_THAT(refusal(fmt::format("tap=t,mac={}", mac)), HasSubstr("needs a unicast one")) << mac;
}

TEST(RandomMac, IsUnicastLocallyAdministeredAndNew) {
  for (int i = 0; i < 100; ++i) {
    const MacAddress mac = random_mac();
    EXPECT_TRUE(mac.is_unicast());
    EXPECT_EQ(mac.bytes[0] & 0x02, 0x02);
    EXPECT_NE(mac, random_mac());
    EXPECT_EQ(parse_mac(to_string(mac)), mac);
  }
}

}  // namespace
}  // namespace godwit::devices
