// The command itself, as a user runs it.
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <algorithm>
#include <boost/json.hpp>
#include <fstream>
#include <sstream>

#include "tests/tools/temp_dir.h"
#include "tools/godwit/text/json_text.h"

namespace godwit::tools {
namespace {

struct Outcome {
  int status = -1;
  std::string out;
  std::string err;
};

std::string content(const std::filesystem::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

class Cli : public testing::Test {
 protected:
  // `arguments` are shell words.
  Outcome godwit(const std::string& arguments) { return shell(GODWIT_BINARY " " + arguments); }
  Outcome shell(const std::string& command) {
    const std::string line = fmt::format(
        "GODWIT_RUN_DIR='{0}/run' timeout 60 bash -c '{1}' "
        ">'{0}/out' 2>'{0}/err' </dev/null",
        temp.path().string(), command);
    const int status = std::system(line.c_str());  // NOLINT(concurrency-mt-unsafe): one thread
    return {WEXITSTATUS(status), content(temp / "out"), content(temp / "err")};
  }
  void expect_usage(const std::string& arguments, const std::string& text) {
    const Outcome outcome = godwit(arguments);
    EXPECT_EQ(outcome.status, 2) << arguments << ": " << outcome.err;
    EXPECT_NE(outcome.err.find(text), std::string::npos) << arguments << ": " << outcome.err;
    EXPECT_TRUE(outcome.out.empty()) << outcome.out;
  }
  TempDir temp;
};

TEST_F(Cli, UsageErrorsEndWithTwoAndSayWhatIsWrong) {
  expect_usage("", "subcommand");
  expect_usage("migrat web", "did you mean `godwit migrate`");
  expect_usage("frobnicate", "there is no command");
  expect_usage("run", "--name");
  expect_usage("run --name web --memory 1G", "--kernel is required");
  expect_usage("run --name web --memory 1 --kernel k", "has no unit");
  expect_usage("run --name web --memory 1M --kernel k", "steps of 2 MiB");
  expect_usage("run --name ../x --memory 1G --kernel k", "no instance name");
  expect_usage("run --name web --memory 1G --kernel k --cpus 65", "use 1 to 64");
  expect_usage("run --name web --memory 1G --kernel k --cpu pentium", "x86-64-v3");
  expect_usage("run --name web --memory 1G --kernel k --cpu pentium", "baseline=FILE");
  expect_usage("run --name web --memory 1G --kernel k --cpu host,-avx3", "did you mean avx");
  expect_usage("run --name web --memory 1G --kernel k --cpu host,avx", "-NAME");
  expect_usage("run --name web --memory 1G --kernel k --cpu host,", "ends in a comma");
  expect_usage("run --name web --memory 1G --kernel k --cpu baseline=", "needs a file");
  expect_usage("cpu-baseline", "FILE");
  expect_usage("cpu-baseline one.json", "FILE");
  expect_usage("run --name web --memory 1G --kernel k --serial tty9", "tty9");
  expect_usage("run --name web --memory 1G --kernel k --hugepages 4M", "2M, 1G or transparent");
  expect_usage("run --name web --memory 1G --kernel k --log-level loud", "log level");
  expect_usage("run --name web --memory 1G --kernel k --balloon free-page-hint=yes",
               "free-page-hint=on or free-page-hint=off");
  expect_usage("run --name web --memory 1G --kernel k --frob", "--frob");
  expect_usage("migrate web", "URL is required");
  expect_usage("migrate web host2:7000 --plaintext", "tcp://");
  expect_usage("migrate web tcp://h:1", "godwit certs");
  expect_usage("migrate web tcp://h:1 --plaintext --tls-dir /tmp", "exclude each other");
  expect_usage("migrate web tcp://h:1 --tls-dir /nonexistent", "no directory");
  expect_usage("migrate web tcp://h:1 --plaintext --max-bandwidth 10G", "Gbit or GB");
  expect_usage("migrate web tcp://h:1 --plaintext --downtime-limit 5", "has no unit");
  expect_usage("migrate web tcp://h:1 --plaintext --multifd-channels 0", "use 1 to 64");
  expect_usage("migrate web tcp://h:1 --plaintext --compression zip", "auto, none, lz4");
  expect_usage("receive --name web --listen tcp://h:1", "godwit certs");
  expect_usage("receive --name web --listen tcp://h:1 --plaintext --tls-authz x", "--tls-dir");
  expect_usage("completion zsh", "only for bash");
}

TEST_F(Cli, CommandsForAnInstanceThatIsNotThereEndWithThree) {
  for (const char* command :
       {"info ghost", "pause ghost", "resume ghost", "resume ghost --fenced", "balloon ghost 64M",
        "stop ghost", "cancel ghost", "migrate ghost tcp://127.0.0.1:1 --plaintext"}) {
    const Outcome outcome = godwit(command);
    EXPECT_EQ(outcome.status, 3) << command;
    EXPECT_NE(outcome.err.find("no instance"), std::string::npos) << outcome.err;
    EXPECT_NE(outcome.err.find("ghost"), std::string::npos) << outcome.err;
  }
}

TEST_F(Cli, MigrateWithJsonPrintsOneObjectAlsoWhenItFails) {
  const Outcome outcome = godwit("migrate ghost tcp://127.0.0.1:1 --plaintext --json");
  EXPECT_EQ(outcome.status, 3);
  ASSERT_EQ(std::count(outcome.out.begin(), outcome.out.end(), '\n'), 1);
  const auto object = parse_object(outcome.out);
  ASSERT_TRUE(object) << outcome.out;
  EXPECT_NE(outcome.out.find("\"status\":\"failed\""), std::string::npos);
  EXPECT_NE(outcome.out.find("\"error-desc\":\"no instance"), std::string::npos);
}

TEST_F(Cli, MigrateWithJsonPrintsOneObjectForAWrongCommandLineToo) {
  for (const char* command :
       {"migrate --json web host2:7000 --plaintext", "migrate web tcp://h:1 --json",
        "migrate web --json", "migrate web tcp://h:1 --plaintext --json --multifd-channels 0",
        "migrate web tcp://h:1 --plaintext --json --downtime-limit 3000s"}) {
    const Outcome outcome = godwit(command);
    EXPECT_EQ(outcome.status, 2) << command;
    EXPECT_EQ(std::count(outcome.out.begin(), outcome.out.end(), '\n'), 1) << command;
    EXPECT_TRUE(parse_object(outcome.out)) << outcome.out;
    EXPECT_NE(outcome.out.find("\"error-desc\":\""), std::string::npos) << outcome.out;
  }
}

TEST_F(Cli, EveryCommandHasAManualPage) {
  for (const char* command :
       {"run", "receive", "migrate", "list", "info", "pause", "resume", "balloon", "stop", "cancel",
        "check", "cpu-baseline", "certs", "version", "completion"}) {
    const Outcome outcome = godwit(std::string(command) + " --help");
    EXPECT_EQ(outcome.status, 0);
    for (const char* section :
         {"NAME\n", "\nSYNOPSIS\n", "\nDESCRIPTION\n", "\nOPTIONS\n", "\nEXIT STATUS\n"})
      EXPECT_NE(outcome.out.find(section), std::string::npos) << command << " " << section;
    std::istringstream lines(outcome.out);
    for (std::string line; std::getline(lines, line);)
      EXPECT_LE(line.size(), 100u) << command << ": " << line;
  }
  EXPECT_NE(godwit("--help").out.find("\nCOMMANDS\n"), std::string::npos);
}

TEST_F(Cli, EmptyRunDirectoryListsNothing) {
  EXPECT_EQ(godwit("list --json").out, "[]\n");
  const Outcome outcome = godwit("list");
  EXPECT_EQ(outcome.status, 0);
  EXPECT_TRUE(outcome.out.starts_with("NAME")) << outcome.out;
}

TEST_F(Cli, UnsafeRunDirectoryIsRefused) {
  std::filesystem::create_directory(temp / "run");
  ASSERT_EQ(::chmod((temp / "run").c_str(), 0777), 0);
  const Outcome outcome = godwit("list");
  EXPECT_EQ(outcome.status, 1);
  EXPECT_NE(outcome.err.find("chmod 0700"), std::string::npos);
}

TEST_F(Cli, MissingKernelIsNamed) {
  const Outcome outcome =
      godwit("run --name web --memory 16M --kernel /nonexistent/vmlinux --serial null");
  EXPECT_EQ(outcome.status, 1);
  EXPECT_TRUE(outcome.out.empty());
  if (outcome.err.find("/dev/kvm") != std::string::npos) GTEST_SKIP() << outcome.err;
  EXPECT_NE(outcome.err.find("/nonexistent/vmlinux"), std::string::npos) << outcome.err;
  EXPECT_TRUE(std::filesystem::is_empty(temp / "run"));
}

TEST_F(Cli, BashCompletionIsValidAndCompletes) {
  const Outcome script = godwit("completion bash");
  ASSERT_EQ(script.status, 0);
  std::ofstream(temp / "completion") << script.out;
  const std::string file = (temp / "completion").string();
  EXPECT_EQ(shell("bash -n " + file).err, "");
  const auto complete = [&](const std::string& words, int current) {
    const Outcome outcome = shell(fmt::format(
        "source {}; COMP_WORDS=({}); COMP_CWORD={}; _godwit; echo \"${{COMPREPLY[*]}}\"", file,
        words, current));
    EXPECT_EQ(outcome.err, "");
    return outcome.out;
  };
  EXPECT_EQ(complete("godwit mi", 1), "migrate\n");
  EXPECT_EQ(complete("godwit migrate web --downt", 3), "--downtime-limit\n");
  EXPECT_EQ(complete("godwit migrate web --compression l", 4), "lz4\n");
  EXPECT_EQ(complete("godwit run --cpu x86-64-v3", 3), "x86-64-v3\n");
  EXPECT_EQ(complete("godwit cpu-base", 1), "cpu-baseline\n");
  EXPECT_EQ(complete("godwit cpu-baseline " + file, 2), file + "\n");
}

TEST_F(Cli, ManualPageOfCpuBaselineIsAsAgreed) {
  EXPECT_EQ(godwit("cpu-baseline --help").out, content(GODWIT_GOLDEN_DIR "/help_cpu_baseline.txt"));
}

TEST_F(Cli, BaselineOfThisHostIsAcceptedHere) {
  const std::string host = (temp / "host.json").string(), group = (temp / "group.json").string();
  const Outcome check = godwit("check --json");
  if (check.status != 0) GTEST_SKIP() << "no guest can run here: " << check.out;
  std::ofstream(host) << check.out;
  const Outcome made = godwit(fmt::format("cpu-baseline {0} {0} --output {1} --json", host, group));
  ASSERT_EQ(made.status, 0) << made.err;
  EXPECT_TRUE(parse_object(made.out)) << made.out;
  // A baseline is a host's CPU: it can be combined, and stays what it is.
  const Outcome again = godwit(fmt::format("cpu-baseline {} {}", group, host));
  EXPECT_EQ(again.out, content(group)) << again.err;
  const Outcome run = godwit(
      "run --name web --memory 16M --kernel /nonexistent --serial null --cpu "
      "baseline=" +
      group);
  EXPECT_EQ(run.status, 1);
  EXPECT_NE(run.err.find("/nonexistent"), std::string::npos) << run.err;  // the CPU was no problem
}

TEST_F(Cli, FileThatIsNoCpuIsNamed) {
  const std::string file = (temp / "host.json").string();
  std::ofstream(file) << R"({"usable":false,"checks":[]})";
  for (const std::string& command :
       {fmt::format("cpu-baseline {0} {0}", file),
        fmt::format("run --name web --memory 16M --kernel k --serial null --cpu baseline={}",
                    file)}) {
    const Outcome outcome = godwit(command);
    EXPECT_EQ(outcome.status, 1) << command;
    EXPECT_NE(outcome.err.find(file), std::string::npos) << outcome.err;
  }
}

TEST_F(Cli, CertsMakesWhatTlsDirWants) {
  const std::string dir = (temp / "tls").string();
  const Outcome made = godwit("certs " + dir + " --host host1 --host 10.0.0.1");
  ASSERT_EQ(made.status, 0) << made.err;
  for (const char* name :
       {"ca-cert.pem", "server-cert.pem", "server-key.pem", "client-cert.pem", "client-key.pem"})
    EXPECT_TRUE(std::filesystem::exists(temp.path() / "tls" / name)) << name;
  const Outcome again = godwit("certs " + dir);
  EXPECT_EQ(again.status, 1);
  EXPECT_NE(again.err.find("--force"), std::string::npos) << again.err;
}

TEST_F(Cli, VersionIsTheSameInEveryForm) {
  EXPECT_EQ(godwit("version").out, "godwit " GODWIT_VERSION "\n");
  EXPECT_EQ(godwit("--version").out, "godwit " GODWIT_VERSION "\n");
  EXPECT_TRUE(parse_object(godwit("version --json").out));
}

}  // namespace
}  // namespace godwit::tools
