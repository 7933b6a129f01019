// Two VMM processes on this machine and the commands between them, on real KVM.
#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <fstream>
#include <memory>

#include "tests/tools/child_process.h"
#include "tests/tools/temp_dir.h"
#include "tools/godwit/text/json_text.h"

namespace godwit::tools {
namespace {

std::string content(const std::filesystem::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

// Two run directories stand for two hosts.
class CliMigration : public testing::Test {
 protected:
  void SetUp() override {
    if (command("a", {"check"}) != 0)
      GTEST_SKIP() << "no guest can run here:\n" << content(temp / "command.out");
  }
  std::unique_ptr<ChildProcess> spawn(const std::string& host, std::vector<std::string> words,
                                      const std::string& output) {
    words.insert(words.begin(), GODWIT_BINARY);
    return std::make_unique<ChildProcess>(std::move(words), temp.path() / output,
                                          "GODWIT_RUN_DIR=" + (temp.path() / host).string());
  }
  int command(const std::string& host, std::vector<std::string> words) {
    return spawn(host, std::move(words), "command")->wait();
  }
  std::string out() { return content(temp / "command.out"); }
  std::string err() { return content(temp / "command.err"); }

  void start_source() {
    source = spawn("a",
                   {"run", "--name", "web", "--memory", "64M", "--kernel", "builtin:workload",
                    "--serial", "file=" + (temp / "source.log").string()},
                   "source");
    ASSERT_TRUE(await_state("a", "running")) << content(temp / "source.err");
    // Until then hardly any memory is in use.
    for (int i = 0; i < 600 && content(temp / "source.log").find("ready=1") == std::string::npos;
         ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    ASSERT_NE(content(temp / "source.log").find("ready=1"), std::string::npos);
  }
  void start_target(std::vector<std::string> security = {"--plaintext"}) {
    std::vector<std::string> words{"receive",
                                   "--name",
                                   "web",
                                   "--listen",
                                   url,
                                   "--serial",
                                   "file=" + (temp / "target.log").string()};
    words.insert(words.end(), security.begin(), security.end());
    target = spawn("b", std::move(words), "target");
    ASSERT_TRUE(await_state("b", "receiving")) << content(temp / "target.err");
  }
  bool await_state(const std::string& host, const std::string& state) {
    constexpr int kAttempts = 300;
    for (int attempt = 0; attempt < kAttempts; ++attempt) {
      if (command(host, {"info", "web"}) == 0 &&
          out().find(" " + state + "\n") != std::string::npos)
        return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
    return false;
  }
  boost::json::object json_out() {
    auto object = parse_object(out());
    EXPECT_TRUE(object) << out();
    return object ? *object : boost::json::object{};
  }

  TempDir temp;
  std::string url = "unix://" + (temp / "wire").string();
  std::unique_ptr<ChildProcess> source, target;
};

TEST_F(CliMigration, MovesAGuestAndTellsInJson) {
  start_source();
  start_target();
  ASSERT_EQ(command("a", {"migrate", "web", url, "--plaintext", "--verify", "--json"}), 0) << err();
  const auto result = json_out();
  EXPECT_EQ(result.at("status"), "completed");
  EXPECT_EQ(result.at("verify").at("equal"), true);
  EXPECT_GT(result.at("downtime").to_number<double>(), 0);
  EXPECT_EQ(source->wait(), 0) << content(temp / "source.err");
  EXPECT_TRUE(content(temp / "source.out").empty());
  EXPECT_TRUE(await_state("b", "running"));
  EXPECT_EQ(command("a", {"info", "web"}), 3);
  EXPECT_EQ(command("b", {"stop", "web"}), 0) << err();
  EXPECT_EQ(target->wait(), 0);
  EXPECT_TRUE(content(temp / "target.out").empty());
  EXPECT_TRUE(std::filesystem::is_empty(temp / "b"));
}

TEST_F(CliMigration, WithoutATargetTheGuestRunsOn) {
  start_source();
  EXPECT_EQ(command("a", {"migrate", "web", url, "--plaintext", "--json"}), 4);
  EXPECT_EQ(json_out().at("status"), "failed");
  EXPECT_NE(err().find("runs on at the source"), std::string::npos) << err();
  EXPECT_TRUE(await_state("a", "running"));
  source->signal(SIGTERM);
  EXPECT_EQ(source->wait(), 0);
}

TEST_F(CliMigration, EncryptedSourceAndPlaintextTargetDoNotMeet) {
  ASSERT_EQ(command("a", {"certs", (temp / "tls").string()}), 0) << err();
  start_source();
  start_target();
  EXPECT_EQ(command("a", {"migrate", "web", url, "--tls-dir", (temp / "tls").string()}), 4);
  EXPECT_TRUE(await_state("a", "running"));
  EXPECT_TRUE(await_state("b", "receiving"));
}

TEST_F(CliMigration, InterruptCancelsAndTheGuestRunsOn) {
  start_source();
  start_target();
  const auto migration = spawn("a",
                               {"migrate", "web", url, "--plaintext", "--max-bandwidth", "100kB",
                                "--compression", "none", "--json"},
                               "migration");
  for (int i = 0; i < 300 && out().find("active") == std::string::npos; ++i)
    ASSERT_EQ(command("a", {"info", "web"}), 0) << content(temp / "migration.out");
  migration->signal(SIGINT);
  EXPECT_EQ(migration->wait(), 5) << content(temp / "migration.err");
  EXPECT_NE(content(temp / "migration.out").find("\"status\":\"cancelled\""), std::string::npos);
  EXPECT_TRUE(await_state("a", "running"));
  EXPECT_EQ(target->wait(), 5) << content(temp / "target.err");
}

TEST_F(CliMigration, CancelEndsAWaitingTarget) {
  start_target();
  EXPECT_EQ(command("b", {"cancel", "web"}), 0) << err();
  EXPECT_EQ(target->wait(), 5);
}

TEST_F(CliMigration, SecondInstanceOfANameIsRefused) {
  start_source();
  EXPECT_EQ(command("a", {"run", "--name", "web", "--memory", "64M", "--kernel", "builtin:workload",
                          "--serial", "null"}),
            1);
  EXPECT_NE(err().find("in use by a running VMM"), std::string::npos) << err();
}

TEST_F(CliMigration, KilledInstanceIsGoneAndItsNameFree) {
  start_source();
  source->signal(SIGKILL);
  source->wait();
  EXPECT_EQ(command("a", {"info", "web"}), 3);
  EXPECT_EQ(command("a", {"list", "--json"}), 0);
  EXPECT_EQ(out(), "[]\n");
  start_source();
}

}  // namespace
}  // namespace godwit::tools
