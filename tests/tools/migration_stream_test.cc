#include "tools/godwit/api/migration_stream.h"

#include <csignal>

#include "tests/tools/api_fixture.h"
#include "tests/tools/sample_migration.h"
#include "tools/godwit/report/migration_json.h"
#include "tools/godwit/text/json_text.h"

namespace godwit::tools {
namespace {

MigrationRequest some_request() {
  MigrationRequest request;
  request.destination = "tcp://host2:7000";
  request.plaintext = true;
  return request;
}

migration::Progress active(uint32_t iteration) {
  migration::Progress progress;
  progress.status = migration::Status::kActive;
  progress.iteration = iteration;
  return progress;
}

class MigrationStreamTest : public ApiTest {
 protected:
  // Runs `steer` beside the client; both are over when this returns.
  Result<StreamOutcome> follow(const std::function<void()>& steer) {
    std::jthread steering([&] {
      EXPECT_TRUE(guest.wait_until_started());
      steer();
    });
    StreamHandlers handlers;
    handlers.on_progress = [this](const migration::Progress& p) {
      seen.push_back(p);
      if (on_seen) on_seen(p);
    };
    handlers.on_notice = [this](const std::string& text) { notices.push_back(text); };
    return follow_migration(client(), some_request(), handlers);
  }
  std::vector<migration::Progress> seen;
  std::vector<std::string> notices;
  std::function<void(const migration::Progress&)> on_seen;
};

TEST_F(MigrationStreamTest, EndsWithTheResult) {
  on_seen = [this](const migration::Progress& p) {
    if (p.status == migration::Status::kSetup) guest.progress(active(1));
    if (p.status == migration::Status::kActive) guest.finish(sample_result());
  };
  const auto outcome = follow([] {});
  ASSERT_TRUE(outcome) << outcome.error().message;
  EXPECT_EQ(outcome->end, StreamEnd::kFinished);
  ASSERT_TRUE(outcome->result);
  EXPECT_EQ(to_text(to_json(*outcome->result)), to_text(to_json(sample_result())));
  ASSERT_GE(seen.size(), 2u);
  EXPECT_EQ(seen.back().iteration, 1u);
  EXPECT_EQ(guest.requests.at(0).destination, "tcp://host2:7000");
}

TEST_F(MigrationStreamTest, RefusalOfTheRequestIsAnErrorAndNoStream) {
  guest.progress(active(1));  // one is under way
  const auto outcome = follow_migration(client(), some_request(), {});
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().code, Errc::kPrecondition);
  EXPECT_TRUE(guest.requests.empty());
}

TEST_F(MigrationStreamTest, HeartbeatKeepsAQuietMigrationAlive) {
  ApiTimeouts timeouts;
  timeouts.heartbeat = std::chrono::milliseconds(20);
  start(timeouts);
  on_seen = [this](const migration::Progress&) {
    if (seen.size() == 4) guest.finish(sample_result());
  };
  const auto outcome = follow([] {});
  ASSERT_TRUE(outcome) << outcome.error().message;
  EXPECT_GE(seen.size(), 4u);
}

TEST_F(MigrationStreamTest, FirstInterruptCancels) {
  on_seen = [](const migration::Progress& p) {
    if (p.status == migration::Status::kSetup) ::raise(SIGINT);
  };
  const auto outcome = follow([] {});
  ASSERT_TRUE(outcome) << outcome.error().message;
  EXPECT_TRUE(outcome->interrupted);
  EXPECT_EQ(outcome->result->progress.status, migration::Status::kCancelled);
  EXPECT_EQ(guest.cancels, 1);
  EXPECT_EQ(notices.size(), 1u);
}

TEST_F(MigrationStreamTest, HangUpLeavesTheMigrationAlone) {
  on_seen = [](const migration::Progress&) { ::raise(SIGHUP); };
  const auto outcome = follow([] {});
  ASSERT_TRUE(outcome);
  EXPECT_EQ(outcome->end, StreamEnd::kDetached);
  EXPECT_EQ(guest.cancels, 0);
}

TEST_F(MigrationStreamTest, LossOfTheVmmIsAnUnknownOutcome) {
  on_seen = [this](const migration::Progress&) {
    loop_->post([this] { server_->close(Nanoseconds(0), [this] { loop_->stop(); }); });
    on_seen = {};
  };
  std::jthread reaper([this] {
    thread_.join();
    server_.reset();
    loop_.reset();
  });
  const auto outcome = follow([] {});
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().code, Errc::kUnknownOutcome);
}

TEST_F(MigrationStreamTest, WithoutAStreamTheStartIsAnswered202) {
  const auto answer =
      client().put("vm.send-migration", {{"destination", "tcp://h:1"}, {"plaintext", true}});
  ASSERT_TRUE(answer) << answer.error().message;
  EXPECT_EQ(answer->at("status"), "setup");
  guest.finish(sample_result());
  EXPECT_EQ(client().get("vm.migration")->at("status"), "completed");
}

TEST_F(MigrationStreamTest, CloseWaitsForTheLastLineOfAnOpenStream) {
  RawConnection stream(socket());
  const std::string body = R"({"destination":"tcp://h:1","plaintext":true})";
  stream.send(
      "PUT /api/v1/vm.send-migration HTTP/1.1\r\nAccept: application/x-ndjson\r\n"
      "Content-Length: " +
      std::to_string(body.size()) + "\r\n\r\n" + body);
  stream.receive("\"setup\"");
  std::atomic<bool> closed{false};
  loop_->post([&] {
    server_->close(std::chrono::seconds(20), [&] {
      closed = true;
      loop_->stop();
    });
    guest.finish(sample_result());
  });
  const std::string rest = stream.receive();
  EXPECT_NE(rest.find("\"completed\""), std::string::npos);
  EXPECT_TRUE(rest.ends_with("\r\n0\r\n\r\n"));
  thread_.join();
  EXPECT_TRUE(closed);
}

TEST_F(MigrationStreamTest, AReaderThatStopsReadingIsDropped) {
  ApiTimeouts timeouts;
  timeouts.request = std::chrono::milliseconds(100);
  timeouts.heartbeat = std::chrono::milliseconds(1);
  start(timeouts);
  RawConnection stream(socket());
  const std::string body = R"({"destination":"tcp://h:1","plaintext":true})";
  stream.send(
      "PUT /api/v1/vm.send-migration HTTP/1.1\r\nAccept: application/x-ndjson\r\n"
      "Content-Length: " +
      std::to_string(body.size()) + "\r\n\r\n" + body);
  ASSERT_TRUE(guest.wait_until_started());
  // Only a stream that has been dropped lets this end at once instead of after the limit.
  std::atomic<bool> closed{false};
  loop_->post([&] {
    server_->close(std::chrono::hours(1), [&] {
      closed = true;
      loop_->stop();
    });
  });
  thread_.join();
  EXPECT_TRUE(closed);
}

}  // namespace
}  // namespace godwit::tools
