#include "bench/serial_client.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <thread>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/workload/temp_dir.h"
#include "vmm/base/syscall.h"

namespace godwit::bench {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

TEST(GuestLine, WordsValuesAndQuotes) {
  const GuestLine line =
      parse_guest_line("report seq=4 gap_us=12.5 error=\"bad value: ws=x\" x=\r");
  EXPECT_TRUE(line.has("report"));
  EXPECT_EQ(*line.number("seq"), 4U);
  EXPECT_DOUBLE_EQ(*line.decimal("gap_us"), 12.5);
  EXPECT_EQ(line.value("error"), "bad value: ws=x");
  EXPECT_EQ(line.value("x"), "");
}

TEST(GuestLine, WhatIsNoNumberIsAnError) {
  const GuestLine line = parse_guest_line("a=1x b= =3 c=\"unterminated");
  EXPECT_EQ(line.number("a").error().code, Errc::kCorrupt);
  EXPECT_EQ(line.number("b").error().code, Errc::kCorrupt);
  EXPECT_EQ(line.number("missing").error().code, Errc::kCorrupt);
  EXPECT_EQ(line.value("c"), "unterminated");
}

// A client and the guest's end of its socket.
class SerialClientTest : public testing::Test {
 protected:
  void SetUp() override {
    const auto path = dir_.path() / "serial";
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path.c_str(), sizeof(address.sun_path) - 1);
    const UniqueFd listener(check_syscall(::socket(AF_UNIX, SOCK_STREAM, 0), "socket"));
    check_syscall(::bind(listener.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)),
                  "bind");
    check_syscall(::listen(listener.get(), 1), "listen");
    client_.emplace(SerialClient::connect(path, 1s).value());
    guest_.reset(check_syscall(::accept(listener.get(), nullptr, nullptr), "accept"));
  }
  void guest_says(std::string_view text) {
    ASSERT_EQ(::send(guest_.get(), text.data(), text.size(), 0), static_cast<ssize_t>(text.size()));
  }

  TempDir dir_;
  std::optional<SerialClient> client_;
  UniqueFd guest_;
};

TEST_F(SerialClientTest, LinesArriveWholeHoweverTheyAreCut) {
  guest_says("one=1\r\ntw");
  EXPECT_EQ(client_->read_line(1s)->value("one"), "1");
  guest_says("o=2\n");
  EXPECT_EQ(client_->read_line(1s)->value("two"), "2");
}

TEST_F(SerialClientTest, SilenceIsATimeOutThatShowsTheLastLines) {
  guest_says("hello=1\n");
  ASSERT_TRUE(client_->read_line(1s));
  const auto line = client_->read_line(1ms);
  EXPECT_EQ(line.error().code, Errc::kTimeout);
  EXPECT_THAT(line.error().message, HasSubstr("hello=1"));
}

TEST_F(SerialClientTest, AClosedPortIsAnError) {
  guest_.reset();
  EXPECT_EQ(client_->read_line(1s).error().code, Errc::kIo);
}

TEST_F(SerialClientTest, AnEndlessLineIsRefused) {
  guest_says(std::string(6000, 'x'));
  EXPECT_EQ(client_->read_line(1s).error().code, Errc::kCorrupt);
}

TEST_F(SerialClientTest, AFailedCheckEndsAnyWait) {
  guest_says("report seq=1 check=ok\ncheck=FAILED page=0x5\nready=1\n");
  const auto line = client_->wait_for("ready", 1s);
  EXPECT_EQ(line.error().code, Errc::kCorrupt);
  EXPECT_THAT(line.error().message, HasSubstr("page=0x5"));
}

TEST_F(SerialClientTest, AskDropsWhatCameBeforeTheQuestion) {
  guest_says("report seq=1\nreport seq=2\n");
  // The answer comes when the question has arrived.
  std::jthread guest([this] {
    char command = 0;
    if (::recv(guest_.get(), &command, 1, 0) == 1 && command == 'r') guest_says("report seq=3\n");
  });
  EXPECT_EQ(*client_->ask('r', "report", 5s)->number("seq"), 3U);
}

TEST(SerialClient, NobodyListeningIsATimeOut) {
  const TempDir dir;
  EXPECT_EQ(SerialClient::connect(dir.path() / "none", 1ms).error().code, Errc::kTimeout);
  EXPECT_EQ(SerialClient::connect(std::string(200, 'x'), 1ms).error().code, Errc::kInvalidArgument);
}

}  // namespace
}  // namespace godwit::bench
