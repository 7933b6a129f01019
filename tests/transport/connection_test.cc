// Connector and acceptor together, and the connector alone.
#include <gmock/gmock.h>

#include "tests/transport/channel_exercise.h"
#include "tests/transport/connection_fixture.h"

namespace godwit::migration {
namespace {

using std::chrono::milliseconds;
using testing::AllOf;
using testing::HasSubstr;

struct Case {
  const char* name;
  const char* url;  // empty: a Unix socket
  bool tls;
};

class EveryTransport : public ConnectionTest, public testing::WithParamInterface<Case> {};

INSTANTIATE_TEST_SUITE_P(
    All, EveryTransport,
    testing::Values(Case{"Tcp", "tcp://127.0.0.1:0", false}, Case{"Tcp6", "tcp://[::1]:0", false},
                    Case{"Unix", "", false}, Case{"TcpTls", "tcp://127.0.0.1:0", true},
                    Case{"Tcp6Tls", "tcp://[::1]:0", true}, Case{"UnixTls", "", true}),
    [](const auto& test) { return test.param.name; });

TEST_P(EveryTransport, ConnectsAndCarriesBytesBothWays) {
  const std::string url = *GetParam().url != '\0' ? GetParam().url : socket_url();
  const auto acceptor = listen(url, GetParam().tls);
  const auto connector = connector_to(acceptor->local_endpoint(), GetParam().tls);
  Result<std::unique_ptr<Channel>> client = make_error(Errc::kIo, "not run");
  std::thread dialing([&] { client = connector->connect(kLimit); });
  const auto server = acceptor->accept(kLimit);
  dialing.join();
  ASSERT_TRUE(client) << client.error().message;
  ASSERT_TRUE(server) << server.error().message;
  EXPECT_EQ((*client)->authenticated(), GetParam().tls);
  EXPECT_THAT((*client)->peer(), HasSubstr(acceptor->local_endpoint().to_string()));
  exercise_integrity(**client, **server, 31);
}

TEST_P(EveryTransport, ManyConnectionsAtOnce) {
  constexpr int kConnections = 16;
  const std::string url = *GetParam().url != '\0' ? GetParam().url : socket_url();
  const auto acceptor = listen(url, GetParam().tls);
  const auto connector = connector_to(acceptor->local_endpoint(), GetParam().tls);
  std::vector<std::unique_ptr<Channel>> clients;
  std::thread dialing([&] {
    for (int i = 0; i < kConnections; ++i) {
      auto client = connector->connect(kLimit);
      ASSERT_TRUE(client) << client.error().message;
      const std::byte number{static_cast<uint8_t>(i)};
      ASSERT_TRUE((*client)->send(ConstBuffer(&number, 1)));
      ASSERT_TRUE((*client)->flush());
      clients.push_back(std::move(*client));
    }
  });
  std::vector<bool> seen(kConnections, false);
  for (int i = 0; i < kConnections; ++i) {
    auto server = acceptor->accept(kLimit);
    EXPECT_TRUE(server) << server.error().message;
    std::byte number{};
    if (server) {
      EXPECT_TRUE((*server)->receive(MutableBuffer(&number, 1)));
    }
    seen.at(static_cast<size_t>(number)) = true;
  }
  dialing.join();
  EXPECT_EQ(std::count(seen.begin(), seen.end(), true), kConnections);
}

TEST_F(ConnectionTest, ANameIsLookedUp) {
  const auto acceptor = listen("tcp://localhost:0");
  EXPECT_NE(acceptor->local_endpoint().port, 0);
  EXPECT_TRUE(connector_to(acceptor->local_endpoint())->connect(kLimit));
}

TEST_F(ConnectionTest, EveryAddressOfANameIsTried) {
  // "localhost" is ::1 first where both are known; only 127.0.0.1 listens.
  const auto acceptor = listen("tcp://127.0.0.1:0");
  auto target = acceptor->local_endpoint();
  target.host = "localhost";
  const auto channel = connector_to(target)->connect(kLimit);
  EXPECT_TRUE(channel) << channel.error().message;
}

TEST_F(ConnectionTest, IPv6AnyTakesIPv4Too) {
  const auto acceptor = listen("tcp://[::]:0");
  auto target = acceptor->local_endpoint();
  target.host = "127.0.0.1";
  ASSERT_TRUE(connector_to(target)->connect(kLimit));
  const auto server = acceptor->accept(kLimit);
  ASSERT_TRUE(server);
  EXPECT_THAT((*server)->peer(), testing::StartsWith("tcp://127.0.0.1:"));
}

TEST_F(ConnectionTest, NobodyListensIsNamed) {
  auto target = listen("tcp://127.0.0.1:0")->local_endpoint();
  const auto result = connector_to(target)->connect(kLimit);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, Errc::kIo);
  EXPECT_THAT(result.error().message,
              AllOf(HasSubstr(target.to_string()), HasSubstr("nobody listens")));
}

TEST_F(ConnectionTest, AnUnknownHostIsNamed) {
  const auto result = connector_to(endpoint("tcp://no-such-host.invalid:7"))->connect(kLimit);
  ASSERT_FALSE(result);
  EXPECT_THAT(result.error().message, HasSubstr("'no-such-host.invalid'"));
}

TEST_F(ConnectionTest, AMissingUnixSocketIsNamed) {
  const auto result = connector_to(endpoint(socket_url("none")))->connect(kLimit);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, Errc::kNotFound);
  EXPECT_THAT(result.error().message, HasSubstr(socket_url("none")));
}

// A listener whose queue is full answers nobody: on Linux a connect() then hangs.
class FullListener {
 public:
  FullListener() : fd_(check_syscall(::socket(AF_INET, SOCK_STREAM, 0), "socket")) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    auto* raw = reinterpret_cast<sockaddr*>(&address);
    check_syscall(::bind(fd_.get(), raw, size), "bind");
    check_syscall(::listen(fd_.get(), 0), "listen");
    check_syscall(::getsockname(fd_.get(), raw, &size), "getsockname");
    target = {.host = "127.0.0.1", .port = ntohs(address.sin_port)};
    for (auto& filler : fillers_) {
      filler = UniqueFd(check_syscall(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), "socket"));
      (void)::connect(filler.get(), raw, size);
    }
  }
  Endpoint target;

 private:
  UniqueFd fd_;
  std::array<UniqueFd, 4> fillers_;
};

TEST_F(ConnectionTest, AHostThatDoesNotAnswerIsATimeout) {
  const FullListener silent;
  const auto result = connector_to(silent.target)->connect(milliseconds(100));
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, Errc::kTimeout);
  EXPECT_THAT(result.error().message, HasSubstr(silent.target.to_string()));
}

TEST_F(ConnectionTest, CancelEndsAConnectThatHangsAndAllLaterOnes) {
  const FullListener silent;
  const auto connector = connector_to(silent.target);
  std::jthread stopper([&] {
    std::this_thread::sleep_for(milliseconds(20));
    connector->cancel();
  });
  EXPECT_EQ(connector->connect(std::chrono::minutes(5)).error().code, Errc::kCancelled);
  EXPECT_EQ(connector->connect(std::chrono::minutes(5)).error().code, Errc::kCancelled);
}

TEST_F(ConnectionTest, CancelEndsATlsHandshakeThatHangs) {
  const auto acceptor = listen("tcp://127.0.0.1:0");  // takes the connection, says nothing
  const auto connector = connector_to(acceptor->local_endpoint(), true);
  std::jthread stopper([&] {
    ASSERT_TRUE(acceptor->accept(kLimit));
    connector->cancel();
  });
  const auto result = connector->connect(std::chrono::minutes(5));
  ASSERT_FALSE(result);
  EXPECT_THAT(result.error().code, testing::AnyOf(Errc::kCancelled, Errc::kProtocol));
}

}  // namespace
}  // namespace godwit::migration
