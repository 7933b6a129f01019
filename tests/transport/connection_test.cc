// Connector and acceptor together.
#include <gmock/gmock.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "migration/transport/connector.h"
#include "migration/transport/socket_acceptor.h"
#include "tests/transport/channel_exercise.h"
#include "tests/transport/tls_fixture.h"

namespace godwit::migration {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::AllOf;
using testing::HasSubstr;

constexpr auto kLimit = seconds(20);

Endpoint endpoint(const std::string& text) {
  return parse_endpoint(text).value();
}

class ConnectionTest : public TlsTest {
 protected:
  std::unique_ptr<SocketAcceptor> listen(const std::string& text, bool tls = false,
                                         AcceptorOptions options = {}) {
    auto result =
        SocketAcceptor::listen(endpoint(text), tls ? context(TlsRole::kServer) : nullptr, options);
    EXPECT_TRUE(result) << result.error().message;
    return std::move(*result);
  }
  std::unique_ptr<Connector> connector_to(const Endpoint& target, bool tls = false) {
    return make_connector(target, tls ? context(TlsRole::kClient) : nullptr);
  }
  static Error listen_error(const std::string& text) {
    const auto result = SocketAcceptor::listen(endpoint(text), nullptr);
    EXPECT_FALSE(result) << text;
    return result ? Error{} : result.error();
  }
  std::string socket_url(const std::string& name = "x.sock") const {
    return "unix://" + (directory_ / name).string();
  }
};

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
      ::connect(filler.get(), raw, size);
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

TEST_F(ConnectionTest, AcceptWithoutAClientIsATimeout) {
  for (const bool tls : {false, true}) {
    const auto acceptor = listen("tcp://127.0.0.1:0", tls);
    const auto result = acceptor->accept(milliseconds(20));
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code, Errc::kTimeout);
    EXPECT_EQ(acceptor->accept(Nanoseconds(0)).error().code, Errc::kTimeout);
  }
}

TEST_F(ConnectionTest, CancelEndsAcceptAndAllLaterOnes) {
  const auto acceptor = listen("tcp://127.0.0.1:0", true);
  std::jthread stopper([&] {
    std::this_thread::sleep_for(milliseconds(20));
    acceptor->cancel();
  });
  EXPECT_EQ(acceptor->accept(Nanoseconds::max()).error().code, Errc::kCancelled);
  EXPECT_EQ(acceptor->accept(Nanoseconds::max()).error().code, Errc::kCancelled);
}

TEST_F(ConnectionTest, ATakenPortIsNamed) {
  const auto acceptor = listen("tcp://127.0.0.1:0");
  const auto error = listen_error(acceptor->local_endpoint().to_string());
  EXPECT_EQ(error.code, Errc::kAlreadyExists);
  EXPECT_THAT(error.message,
              AllOf(HasSubstr("port is taken"), HasSubstr(acceptor->local_endpoint().to_string())));
}

TEST_F(ConnectionTest, AnAddressOfAnotherHostIsNamed) {
  const auto error = listen_error("tcp://192.0.2.1:0");
  EXPECT_EQ(error.code, Errc::kInvalidArgument);
  EXPECT_THAT(error.message, HasSubstr("no such address"));
}

TEST_F(ConnectionTest, AUnixSocketIsPrivateAndRemovedAtTheEnd) {
  const auto path = directory_ / "x.sock";
  {
    const auto acceptor = listen(socket_url());
    struct stat status {};
    ASSERT_EQ(::stat(path.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777, 0600U);
  }
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST_F(ConnectionTest, AStaleUnixSocketIsReplaced) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  (directory_ / "x.sock").string().copy(address.sun_path, sizeof(address.sun_path) - 1);
  {
    const UniqueFd dead(check_syscall(::socket(AF_UNIX, SOCK_STREAM, 0), "socket"));
    check_syscall(::bind(dead.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)),
                  "bind");
    check_syscall(::listen(dead.get(), 1), "listen");
  }
  ASSERT_TRUE(std::filesystem::exists(directory_ / "x.sock"));
  const auto acceptor = listen(socket_url());
  EXPECT_TRUE(connector_to(acceptor->local_endpoint())->connect(kLimit));
}

TEST_F(ConnectionTest, ALiveUnixSocketIsNotTaken) {
  const auto acceptor = listen(socket_url());
  const auto error = listen_error(socket_url());
  EXPECT_EQ(error.code, Errc::kAlreadyExists);
  EXPECT_THAT(error.message, HasSubstr("another process listens"));
  EXPECT_TRUE(connector_to(acceptor->local_endpoint())->connect(kLimit));
}

TEST_F(ConnectionTest, AFileInTheWayIsNotRemoved) {
  write_text(directory_ / "x.sock", "precious");
  const auto error = listen_error(socket_url());
  EXPECT_EQ(error.code, Errc::kAlreadyExists);
  EXPECT_THAT(error.message, HasSubstr("no socket"));
  EXPECT_EQ(file_text(directory_ / "x.sock"), "precious");
}

TEST_F(ConnectionTest, AMissingDirectoryIsNamed) {
  EXPECT_EQ(listen_error(socket_url("none/x.sock")).code, Errc::kNotFound);
}

TEST_F(ConnectionTest, SilentClientsDelayNobody) {
  const auto acceptor =
      listen("tcp://127.0.0.1:0", true, {.handshake_limit = std::chrono::minutes(5)});
  // Half of what may be under way at once, each without a byte.
  std::vector<std::unique_ptr<Channel>> silent;
  const auto plain = connector_to(acceptor->local_endpoint());
  for (size_t i = 0; i < HandshakePool::kMaxRunning / 2; ++i) {
    silent.push_back(plain->connect(kLimit).value());
  }
  Result<std::unique_ptr<Channel>> good = make_error(Errc::kIo, "not run");
  std::thread dialing([&] {
    good = connector_to(acceptor->local_endpoint(), true)->connect(std::chrono::minutes(2));
  });
  EXPECT_TRUE(acceptor->accept(std::chrono::minutes(2)));
  dialing.join();
  EXPECT_TRUE(good);
}

TEST_F(ConnectionTest, ACrowdOfSilentClientsDelaysNoLongerThanTheLimit) {
  const auto acceptor = listen("tcp://127.0.0.1:0", true, {.handshake_limit = milliseconds(200)});
  std::vector<std::unique_ptr<Channel>> silent;
  const auto plain = connector_to(acceptor->local_endpoint());
  for (size_t i = 0; i < HandshakePool::kMaxRunning * 2; ++i) {
    silent.push_back(plain->connect(kLimit).value());
  }
  Result<std::unique_ptr<Channel>> good = make_error(Errc::kIo, "not run");
  std::thread dialing([&] {
    good = connector_to(acceptor->local_endpoint(), true)->connect(std::chrono::minutes(2));
  });
  EXPECT_TRUE(acceptor->accept(std::chrono::minutes(2)));
  dialing.join();
  EXPECT_TRUE(good);
}

TEST_F(ConnectionTest, FailedHandshakesAreDroppedAndTheWaitGoesOn) {
  const auto acceptor = listen("tcp://127.0.0.1:0", true);
  std::thread dialing([&] {
    for (int i = 0; i < 40; ++i) {
      const auto stranger = connector_to(acceptor->local_endpoint())->connect(kLimit).value();
      ASSERT_TRUE(stranger->send(random_bytes(100, static_cast<uint32_t>(i))));
      static_cast<void>(stranger->flush());
    }
    EXPECT_TRUE(connector_to(acceptor->local_endpoint(), true)->connect(kLimit));
  });
  const auto server = acceptor->accept(kLimit);
  dialing.join();
  ASSERT_TRUE(server) << server.error().message;
  EXPECT_TRUE((*server)->authenticated());
}

TEST_F(ConnectionTest, AnAcceptorEndsWhileHandshakesHang) {
  auto acceptor = listen("tcp://127.0.0.1:0", true, {.handshake_limit = std::chrono::minutes(5)});
  const auto silent = connector_to(acceptor->local_endpoint())->connect(kLimit);
  EXPECT_EQ(acceptor->accept(milliseconds(100)).error().code, Errc::kTimeout);
  acceptor.reset();
  std::byte byte;
  EXPECT_EQ((*silent)->receive(MutableBuffer(&byte, 1)).error().code, Errc::kIo);
}

TEST_F(ConnectionTest, AConnectionOutlivesItsAcceptor) {
  auto acceptor = listen("tcp://127.0.0.1:0", true);
  Result<std::unique_ptr<Channel>> client = make_error(Errc::kIo, "not run");
  std::thread dialing(
      [&] { client = connector_to(acceptor->local_endpoint(), true)->connect(kLimit); });
  const auto server = acceptor->accept(kLimit);
  dialing.join();
  acceptor.reset();
  ASSERT_TRUE(client && server);
  exercise_integrity(**client, **server, 77);
}

TEST(LogLimiter, AFloodIsCountedInsteadOfWritten) {
  LogLimiter limiter(3, seconds(10));
  const TimePoint start{seconds(100)};
  for (int i = 0; i < 3; ++i) EXPECT_EQ(limiter.admit(start), 0U);
  for (int i = 0; i < 50; ++i) EXPECT_EQ(limiter.admit(start + seconds(5)), std::nullopt);
  EXPECT_EQ(limiter.admit(start + seconds(10)), 50U);
  EXPECT_EQ(limiter.admit(start + seconds(10)), 0U);
}

}  // namespace
}  // namespace godwit::migration
