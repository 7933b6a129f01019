#include "migration/transport/endpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace godwit::migration {
namespace {

using testing::HasSubstr;

TEST(Endpoint, ParsesAndFormatsEachForm) {
  for (const std::string text :
       {"tcp://host2:7000", "tcp://10.0.0.2:1", "tcp://[::1]:65535", "tcp://[fe80::1%lo]:7",
        "tcp://0.0.0.0:0", "tcp://a-b_c.example.org:80", "unix:///run/godwit/x.sock",
        "unix://relative.sock", "unix:///with space/and:colon"}) {
    const auto endpoint = parse_endpoint(text);
    ASSERT_TRUE(endpoint) << endpoint.error().message;
    EXPECT_EQ(endpoint->to_string(), text);
    EXPECT_EQ(*parse_endpoint(endpoint->to_string()), *endpoint);
  }
}

TEST(Endpoint, TakesThePartsApart) {
  const auto tcp = parse_endpoint("tcp://[2001:db8::7]:7000").value();
  EXPECT_EQ(tcp.kind, Endpoint::Kind::kTcp);
  EXPECT_EQ(tcp.host, "2001:db8::7");
  EXPECT_EQ(tcp.port, 7000);
  EXPECT_EQ(parse_endpoint("unix://a/b").value().path, "a/b");
}

struct BadCase {
  std::string text;
  std::string reason;
};

class BadEndpoint : public testing::TestWithParam<BadCase> {};

TEST_P(BadEndpoint, IsRefusedWithTheReason) {
  const auto result = parse_endpoint(GetParam().text);
  ASSERT_FALSE(result) << GetParam().text;
  EXPECT_EQ(result.error().code, Errc::kInvalidArgument);
  EXPECT_THAT(result.error().message, HasSubstr(GetParam().reason));
  EXPECT_THAT(result.error().message, HasSubstr("'" + GetParam().text + "'"));
}

INSTANTIATE_TEST_SUITE_P(
    All, BadEndpoint,
    testing::Values(
        BadCase{"", "scheme is missing"}, BadCase{"host:7000", "scheme is missing"},
        BadCase{"http://host:7000", "unknown scheme 'http'"}, BadCase{"tcp://", "host is missing"},
        BadCase{"tcp://:7000", "host is missing"}, BadCase{"tcp://host", "port is missing"},
        BadCase{"tcp://host:", "port is missing"},
        BadCase{"tcp://host:65536", "port 65536 is out of range"},
        BadCase{"tcp://host:99999999999", "out of range"},
        BadCase{"tcp://host:-1", "port '-1' is not a number"},
        BadCase{"tcp://host:70x", "port '70x' is not a number"},
        BadCase{"tcp://::1:7000", "IPv6 address stands in brackets"},
        BadCase{"tcp://[::1:7000", "closing ']' is missing"},
        BadCase{"tcp://[::1]", "port is missing"}, BadCase{"tcp://[::1]7000", "port is missing"},
        BadCase{"tcp://[host]:7000", "'host' is not an IPv6 address"},
        BadCase{"tcp://[]:7000", "'' is not an IPv6 address"},
        BadCase{"tcp://a b:7000", "'a b' is not a host name"},
        BadCase{"tcp://host/x:7000", "not a host name"}, BadCase{"unix://", "path is missing"},
        BadCase{"unix:///" + std::string(200, 'x'), "at most 107"}));

}  // namespace
}  // namespace godwit::migration
