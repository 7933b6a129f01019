#include <sys/stat.h>
#include <sys/wait.h>

#include <list>

#include "tests/tools/api_fixture.h"
#include "tools/godwit/api/messages.h"
#include "tools/godwit/text/json_text.h"

namespace godwit::tools {
namespace {

bool is(const std::string& answer, int status) {
  return answer.starts_with("HTTP/1.1 " + std::to_string(status));
}

TEST_F(ApiTest, SocketIsForItsOwnerAlone) {
  struct stat info {};
  ASSERT_EQ(::stat(socket().c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0600u);
}

TEST_F(ApiTest, AnotherUserIsRefusedEvenIfTheFileLetsHimIn) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root to become somebody else";
  ASSERT_EQ(::chmod(socket().c_str(), 0666), 0);
  ASSERT_EQ(::chmod(temp_.path().c_str(), 0711), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    if (::setuid(12345) != 0) ::_exit(2);
    RawConnection connection(socket());
    connection.send("GET /api/v1/vm.info HTTP/1.1\r\nHost: x\r\n\r\n");
    ::_exit(is(connection.receive(), 403) ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST_F(ApiTest, PauseAndResumeReachTheGuest) {
  ASSERT_TRUE(client().put("vm.pause"));
  EXPECT_EQ(guest.state, GuestState::kPaused);
  EXPECT_EQ(client().get("vm.info")->at("state"), "paused");
  ASSERT_TRUE(client().put("vm.resume"));
  EXPECT_EQ(guest.state, GuestState::kRunning);
}

TEST_F(ApiTest, UnknownOutcomeNeedsAFencedResume) {
  guest.state = GuestState::kUnknownOutcome;
  const auto refused = client().put("vm.resume");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::kPrecondition);
  ASSERT_TRUE(client().put("vm.resume", {{"fenced", true}}));
  EXPECT_EQ(guest.state, GuestState::kRunning);
  EXPECT_EQ(client().put("vm.resume", {{"fenced", 1}}).error().code, Errc::kInvalidArgument);
  EXPECT_EQ(client().put("vm.resume", {{"force", true}}).error().code, Errc::kInvalidArgument);
}

TEST_F(ApiTest, AsksForMemoryBack) {
  ASSERT_TRUE(client().put("vm.resize-balloon", {{"size", 32 << 20}}));
  const auto info = guest_info_from_json(*client().get("vm.info"));
  ASSERT_TRUE(info && info->balloon);
  EXPECT_EQ(info->balloon->target, 32_MiB);
  EXPECT_EQ(info->balloon->actual, 64_MiB);
  EXPECT_EQ(info->balloon->free, 4096u);
  EXPECT_FALSE(info->balloon->available);
  for (const boost::json::object& bad : std::vector<boost::json::object>{
           {}, {{"size", -1}}, {{"size", "1G"}}, {{"size", 65 << 20}}, {{"size", 1}, {"x", 1}}})
    EXPECT_EQ(client().put("vm.resize-balloon", bad).error().code, Errc::kInvalidArgument);
}

TEST_F(ApiTest, TellsOfDisksAndNetworks) {
  const auto info = guest_info_from_json(*client().get("vm.info"));
  ASSERT_TRUE(info);
  ASSERT_EQ(info->disks.size(), 1u);
  EXPECT_EQ(info->disks[0].source, "/srv/root.img");
  EXPECT_EQ(info->disks[0].size, 1_GiB);
  EXPECT_TRUE(info->disks[0].read_only);
  EXPECT_EQ(info->disks[0].requests, 12u);
  EXPECT_EQ(info->disks[0].failed, 3u);
  ASSERT_EQ(info->networks.size(), 1u);
  EXPECT_EQ(info->networks[0].interface, "tap0");
  EXPECT_EQ(info->networks[0].received_bytes, 5u << 20);
  EXPECT_EQ(info->networks[0].dropped_frames, 6u);
}

TEST_F(ApiTest, OneConnectionServesManyRequests) {
  RawConnection connection(socket());
  for (int i = 0; i < 3; ++i) {
    connection.send("GET /api/v1/vmm.ping HTTP/1.1\r\nHost: x\r\n\r\n");
    EXPECT_NE(connection.receive("}\n").find("\"name\":\"fake\""), std::string::npos);
  }
  connection.send("GET /api/v1/vmm.ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  EXPECT_NE(connection.receive().find("200 OK"), std::string::npos);
}

TEST_F(ApiTest, WhatDoesNotExistIs404AndTheWrongMethod405) {
  EXPECT_TRUE(is(exchange("GET /api/v1/vm.nonsense HTTP/1.1\r\nConnection: close\r\n\r\n"), 404));
  EXPECT_TRUE(is(exchange("GET / HTTP/1.1\r\nConnection: close\r\n\r\n"), 404));
  const std::string answer =
      exchange("DELETE /api/v1/vm.info HTTP/1.1\r\nConnection: close\r\n\r\n");
  EXPECT_TRUE(is(answer, 405));
  EXPECT_NE(answer.find("Allow: GET"), std::string::npos);
}

TEST_F(ApiTest, MalformedHttpAndJsonAreAnswered400WithAReason) {
  for (const char* request :
       {"nonsense\r\n\r\n", "GET  HTTP/1.1\r\n\r\n", "GET / HTTP/9.9\r\n\r\n",
        "PUT /api/v1/vm.pause HTTP/1.1\r\nContent-Length: minus\r\n\r\n",
        "PUT /api/v1/vm.pause HTTP/1.1\r\nContent-Length: 1\r\nConnection: close\r\n\r\n{",
        "PUT /api/v1/vm.pause HTTP/1.1\r\nContent-Length: 7\r\nConnection: close\r\n\r\n{\"n\":1}",
        "PUT /api/v1/vm.resume HTTP/1.1\r\nContent-Length: 2\r\nConnection: close\r\n\r\n[]"}) {
    const std::string answer = exchange(request);
    EXPECT_TRUE(is(answer, 400)) << request << " -> " << answer;
    EXPECT_NE(answer.find("{\"error\":{\"code\":\"invalid-argument\",\"message\":\""),
              std::string::npos);
  }
  EXPECT_EQ(guest.state, GuestState::kRunning);
}

TEST_F(ApiTest, HugeRequestsAreRefusedBeforeTheyAreRead) {
  EXPECT_TRUE(
      is(exchange("PUT /api/v1/vm.pause HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n"), 413));
  RawConnection connection(socket());
  connection.send("GET / HTTP/1.1\r\nX: " + std::string(kMaxHeaderBytes, 'x') + "\r\n\r\n");
  EXPECT_TRUE(is(connection.receive("\r\n"), 431));
  EXPECT_TRUE(client().get("vmm.ping"));
}

TEST_F(ApiTest, SlowRequestIsDroppedAndOthersAreServedMeanwhile) {
  ApiTimeouts timeouts;
  timeouts.request = std::chrono::milliseconds(100);
  start(timeouts);
  RawConnection slow(socket());
  slow.send("GET /api/v1/vm");
  EXPECT_TRUE(client().get("vmm.ping"));
  const std::string answer = slow.receive();
  EXPECT_TRUE(answer.empty() || is(answer, 408)) << answer;
}

TEST_F(ApiTest, TooManyConnectionsAreRefusedUntilOneCloses) {
  std::list<RawConnection> open;
  for (size_t i = 0; i < kMaxConnections; ++i) {
    open.emplace_back(socket());
    open.back().send("GET /api/v1/vmm.ping HTTP/1.1\r\n\r\n");
    EXPECT_TRUE(is(open.back().receive("}\n"), 200));
  }
  EXPECT_TRUE(is(RawConnection(socket()).receive(), 503));
  open.clear();
  // The server learns of it a moment later.
  bool served = false;
  for (int attempt = 0; attempt < 200 && !served; ++attempt) {
    served = client().get("vmm.ping").has_value();
    if (!served) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  EXPECT_TRUE(served);
}

TEST_F(ApiTest, ASecondServerAtTheSameSocketFails) {
  const auto second = ApiServer::start(*loop_, socket(), guest);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, Errc::kAlreadyExists);
}

TEST_F(ApiTest, ClientNamesAnInstanceThatIsNotThere) {
  const auto answer = ApiClient("ghost", temp_ / "ghost.sock").get("vm.info");
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, Errc::kNotFound);
  EXPECT_NE(answer.error().message.find("no instance 'ghost'"), std::string::npos);
}

TEST_F(ApiTest, ClientGivesUpOnAVmmThatDoesNotAnswer) {
  stop();
  loop();
  const auto server = ApiServer::start(*loop_, socket(), guest);  // whose loop nobody runs
  ApiClient impatient("fake", socket());
  impatient.set_timeout(std::chrono::milliseconds(50));
  EXPECT_EQ(impatient.get("vm.info").error().code, Errc::kTimeout);
}

}  // namespace
}  // namespace godwit::tools
