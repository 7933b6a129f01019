#include <gmock/gmock.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "tests/transport/channel_exercise.h"
#include "tests/transport/connection_fixture.h"

namespace godwit::migration {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::AllOf;
using testing::HasSubstr;

class AcceptorTest : public ConnectionTest {};

TEST_F(AcceptorTest, AcceptWithoutAClientIsATimeout) {
  for (const bool tls : {false, true}) {
    const auto acceptor = listen("tcp://127.0.0.1:0", tls);
    const auto result = acceptor->accept(milliseconds(20));
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code, Errc::kTimeout);
    EXPECT_EQ(acceptor->accept(Nanoseconds(0)).error().code, Errc::kTimeout);
  }
}

TEST_F(AcceptorTest, CancelEndsAcceptAndAllLaterOnes) {
  const auto acceptor = listen("tcp://127.0.0.1:0", true);
  std::jthread stopper([&] {
    std::this_thread::sleep_for(milliseconds(20));
    acceptor->cancel();
  });
  EXPECT_EQ(acceptor->accept(Nanoseconds::max()).error().code, Errc::kCancelled);
  EXPECT_EQ(acceptor->accept(Nanoseconds::max()).error().code, Errc::kCancelled);
}

TEST_F(AcceptorTest, ATakenPortIsNamed) {
  const auto acceptor = listen("tcp://127.0.0.1:0");
  const auto error = listen_error(acceptor->local_endpoint().to_string());
  EXPECT_EQ(error.code, Errc::kAlreadyExists);
  EXPECT_THAT(error.message,
              AllOf(HasSubstr("port is taken"), HasSubstr(acceptor->local_endpoint().to_string())));
}

TEST_F(AcceptorTest, AnAddressOfAnotherHostIsNamed) {
  const auto error = listen_error("tcp://192.0.2.1:0");
  EXPECT_EQ(error.code, Errc::kInvalidArgument);
  EXPECT_THAT(error.message, HasSubstr("no such address"));
}

TEST_F(AcceptorTest, AUnixSocketIsPrivateAndRemovedAtTheEnd) {
  const auto path = directory_ / "x.sock";
  {
    const auto acceptor = listen(socket_url());
    struct stat status {};
    ASSERT_EQ(::stat(path.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777, 0600U);
  }
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST_F(AcceptorTest, AStaleUnixSocketIsReplaced) {
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

TEST_F(AcceptorTest, ALiveUnixSocketIsNotTaken) {
  const auto acceptor = listen(socket_url());
  const auto error = listen_error(socket_url());
  EXPECT_EQ(error.code, Errc::kAlreadyExists);
  EXPECT_THAT(error.message, HasSubstr("another process listens"));
  EXPECT_TRUE(connector_to(acceptor->local_endpoint())->connect(kLimit));
}

TEST_F(AcceptorTest, AFileInTheWayIsNotRemoved) {
  write_text(directory_ / "x.sock", "precious");
  const auto error = listen_error(socket_url());
  EXPECT_EQ(error.code, Errc::kAlreadyExists);
  EXPECT_THAT(error.message, HasSubstr("no socket"));
  EXPECT_EQ(file_text(directory_ / "x.sock"), "precious");
}

TEST_F(AcceptorTest, AMissingDirectoryIsNamed) {
  EXPECT_EQ(listen_error(socket_url("none/x.sock")).code, Errc::kNotFound);
}

TEST_F(AcceptorTest, SilentClientsDelayNobody) {
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

TEST_F(AcceptorTest, ACrowdOfSilentClientsDelaysNoLongerThanTheLimit) {
  const auto acceptor = listen("tcp://127.0.0.1:0", true, {.handshake_limit = seconds(1)});
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

TEST_F(AcceptorTest, FailedHandshakesAreDroppedAndTheWaitGoesOn) {
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

TEST_F(AcceptorTest, AnAcceptorEndsWhileHandshakesHang) {
  auto acceptor = listen("tcp://127.0.0.1:0", true, {.handshake_limit = std::chrono::minutes(5)});
  const auto silent = connector_to(acceptor->local_endpoint())->connect(kLimit);
  EXPECT_EQ(acceptor->accept(milliseconds(100)).error().code, Errc::kTimeout);
  acceptor.reset();
  std::byte byte;
  EXPECT_EQ((*silent)->receive(MutableBuffer(&byte, 1)).error().code, Errc::kIo);
}

TEST_F(AcceptorTest, AConnectionOutlivesItsAcceptor) {
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

// Lowers the process's limit of descriptors so that no further one can be made.
class NoDescriptors {
 public:
  NoDescriptors() {
    check_syscall(::getrlimit(RLIMIT_NOFILE, &before_), "getrlimit");
    const UniqueFd next(check_syscall(::dup(0), "dup"));
    const rlimit none{static_cast<rlim_t>(next.get()), before_.rlim_max};
    check_syscall(::setrlimit(RLIMIT_NOFILE, &none), "setrlimit");
  }
  ~NoDescriptors() { ::setrlimit(RLIMIT_NOFILE, &before_); }

 private:
  rlimit before_{};
};

TEST_F(AcceptorTest, WithoutDescriptorsItSaysSoAndGoesOnLater) {
  const auto acceptor = listen("tcp://127.0.0.1:0");
  const auto client = connector_to(acceptor->local_endpoint())->connect(kLimit);
  ASSERT_TRUE(client);
  {
    const NoDescriptors none;
    const auto result = acceptor->accept(kLimit);
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code, Errc::kExhausted) << result.error().message;
  }
  EXPECT_TRUE(acceptor->accept(kLimit));
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
