#include "bench/qemu/qmp_client.h"

#include <sys/socket.h>

#include <string_view>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "vmm/base/syscall.h"

namespace godwit::bench {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

// A client whose QEMU has said everything in advance.
class QmpClientTest : public testing::Test {
 protected:
  void SetUp() override {
    int fds[2];
    check_syscall(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), "socketpair");
    client_ = QmpClient(UniqueFd(fds[0]));
    qemu_.reset(fds[1]);
  }
  void qemu_says(std::string_view text) {
    ASSERT_EQ(::send(qemu_.get(), text.data(), text.size(), 0), static_cast<ssize_t>(text.size()));
  }

  QmpClient client_;
  UniqueFd qemu_;
};

TEST_F(QmpClientTest, LeavesNegotiationAfterTheGreeting) {
  qemu_says("{\"QMP\": {\"version\": {}}}\r\n{\"return\": {}, \"id\": 1}\r\n");
  EXPECT_TRUE(client_.negotiate(1s));
}

TEST_F(QmpClientTest, AnythingButAGreetingIsRefused) {
  qemu_says("{\"hello\": 1}\n");
  EXPECT_EQ(client_.negotiate(1s).error().code, Errc::kProtocol);
}

TEST_F(QmpClientTest, EventsAmongAnswersAreKeptInOrder) {
  qemu_says(
      "{\"event\": \"A\"}\n{\"event\": \"B\"}\n{\"return\": 5, \"id\": 1}\n{\"event\": \"C\"}\n");
  EXPECT_EQ(client_.command("query-x")->as_int64(), 5);
  for (const char* name : {"A", "B", "C"}) {
    const auto event = client_.next_event(1s);
    ASSERT_TRUE(event);
    EXPECT_EQ(event->at("event").as_string(), name);
  }
}

TEST_F(QmpClientTest, ARefusalCarriesQemusWords) {
  qemu_says("{\"error\": {\"class\": \"GenericError\", \"desc\": \"no such thing\"}, \"id\": 1}\n");
  const auto result = client_.command("migrate");
  ASSERT_FALSE(result);
  EXPECT_THAT(result.error().message, HasSubstr("migrate"));
  EXPECT_THAT(result.error().message, HasSubstr("no such thing"));
}

TEST_F(QmpClientTest, AnAnswerToAnotherQuestionIsNotTaken) {
  qemu_says(
      "{\"return\": 1, \"id\": 7}\n{\"return\": 2, \"id\": \"x\"}\n{\"return\": 3, \"id\": 1}\n");
  EXPECT_EQ(client_.command("query-x")->as_int64(), 3);
}

TEST_F(QmpClientTest, WhatIsNoJsonObjectIsCorrupt) {
  for (const char* line : {"{\"return\"\n", "[1]\n", "\n"}) {
    qemu_says(line);
    EXPECT_EQ(client_.command("query-x").error().code, Errc::kCorrupt) << line;
  }
}

TEST_F(QmpClientTest, SilenceIsATimeOutAndAClosedSocketAnError) {
  EXPECT_EQ(client_.command("query-x", {}, 1ms).error().code, Errc::kTimeout);
  qemu_.reset();
  EXPECT_EQ(client_.command("query-x", {}, 1s).error().code, Errc::kIo);
}

}  // namespace
}  // namespace godwit::bench
