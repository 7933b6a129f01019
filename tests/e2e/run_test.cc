// What `godwit run` refuses, and how it ends.
#include <sys/stat.h>

#include <csignal>
#include <fstream>

#include "tests/e2e/fixture.h"
#include "tests/e2e/tiny_guest.h"

namespace godwit::e2e {
namespace {

using testing::HasSubstr;

class Running : public E2eTest {
 protected:
  std::string file(const std::string& name, const std::string& content = "") {
    const std::filesystem::path path = dir_.path() / name;
    std::ofstream(path, std::ios::binary) << content;
    return path.string();
  }
  std::string tiny(std::initializer_list<int> code) {
    const std::filesystem::path path = a_.fresh_path("kernel");
    write_tiny_guest(path, code);
    return path.string();
  }
  static Arguments tiny_run(const std::string& kernel) {
    return {"run", "--name", "tiny", "--memory", "16M", "--kernel", kernel, "--serial", "null"};
  }
  // Runs `code`, which says "H" when it listens to its power button.
  std::unique_ptr<Child> listening(std::initializer_list<int> code) {
    Arguments arguments = tiny_run(tiny(code));
    const std::filesystem::path tty = a_.fresh_path("tty");
    arguments.back() = "file=" + tty.string();
    auto guest = a_.start(arguments);
    EXPECT_TRUE(eventually([&] { return read_text(tty) == "H" || !guest->running(); }));
    return guest;
  }
  // It ends at once, for `reason`, with nothing on stdout, and leaves nothing in the run directory.
  void expect_refused(const Arguments& arguments, const std::string& reason, int status = kFailed) {
    const CommandResult result = a_.godwit(arguments);
    EXPECT_EQ(result.status, status) << result.errors;
    EXPECT_THAT(result.errors, HasSubstr(reason));
    EXPECT_EQ(result.output, "");
    const std::filesystem::path run_dir = a_.run_dir();
    EXPECT_TRUE(!std::filesystem::exists(run_dir) || std::filesystem::is_empty(run_dir))
        << result.errors;
  }
  void expect_end(std::initializer_list<int> code, int status, const std::string& reason) {
    const CommandResult result = a_.godwit(tiny_run(tiny(code)));
    EXPECT_EQ(result.status, status) << result.errors;
    EXPECT_THAT(result.errors, HasSubstr(reason));
    EXPECT_EQ(result.output, "");
  }
  static unsigned mode_of(const std::filesystem::path& path) {
    struct stat info {};
    EXPECT_EQ(::stat(path.c_str(), &info), 0) << path;
    return info.st_mode & 07777;
  }
};

// --- how a guest ends

TEST_F(Running, APowerOffEndsItWithSuccess) {
  expect_end(kPowerOff, kDone, "powered off");
}

TEST_F(Running, AResetEndsItWithSuccessIfItShallNotReboot) {
  const CommandResult result = a_.godwit(tiny_run(tiny(kReset)) + Arguments{"--no-reboot"});
  EXPECT_EQ(result.status, kDone) << result.errors;
  EXPECT_THAT(result.errors, HasSubstr("asked for a reset, which ends it: --no-reboot"));
}

TEST_F(Running, AGuestThatDoesNothingButResetIsEndedWithAnError) {
  const CommandResult result = a_.godwit(tiny_run(tiny(kReset)));
  EXPECT_EQ(result.status, kFailed) << result.errors;
  EXPECT_THAT(result.errors, HasSubstr("resets itself over and over"));
}

TEST_F(Running, AResetRebootsInPlaceOnTheSameConsole) {
  Arguments arguments = tiny_run(tiny(kPrintHAndReset));
  const std::filesystem::path tty = a_.fresh_path("tty");
  arguments.back() = "file=" + tty.string();
  const CommandResult result = a_.godwit(arguments);
  EXPECT_EQ(result.status, kFailed) << result.errors;
  // What each boot printed: the file was not begun again.
  EXPECT_EQ(read_text(tty), "HHH");
  EXPECT_THAT(result.errors, HasSubstr("guest 'tiny' reboots"));
}

TEST_F(Running, AGuestThatCameByMigrationRebootsWhatItsReceiverWasTold) {
  const auto source = listening(kResetByButton);
  const auto target = receiver(b_, Arguments{"--plaintext", "--kernel", tiny(kPowerOff)});
  EXPECT_EQ(a_.godwit({"migrate", "tiny", target->url(), "--plaintext"}).status, kDone);
  const CommandResult stopped = b_.godwit({"stop", target->name()});
  EXPECT_THAT(stopped.errors, HasSubstr("has powered itself off"));
  EXPECT_EQ(target->exit_status(), kDone);
  EXPECT_THAT(target->process().errors(), HasSubstr("guest 'guest' reboots"));
}

TEST_F(Running, AGuestThatCameByMigrationEndsWithAResetIfItsReceiverWasNotTold) {
  const auto source = listening(kResetByButton);
  const auto target = receiver(b_);
  EXPECT_EQ(a_.godwit({"migrate", "tiny", target->url(), "--plaintext"}).status, kDone);
  EXPECT_EQ(b_.godwit({"stop", target->name()}).status, kDone);
  EXPECT_EQ(target->exit_status(), kDone);
  EXPECT_THAT(target->process().errors(), HasSubstr("give --kernel"));
}

TEST_F(Running, AReceiverThatCouldNotRebootItsGuestSaysSoBeforeItComes) {
  expect_refused({"receive", "--name", "g", "--listen", kAnyPort, "--plaintext", "--kernel",
                  "/nonexistent/vmlinux"},
                 "/nonexistent/vmlinux");
  expect_refused({"receive", "--name", "g", "--listen", kAnyPort, "--plaintext", "--cmdline", "x"},
                 "--kernel", kUsage);
}

TEST_F(Running, TheDebugExitCodeBecomesTheExitStatus) {
  expect_end(kDebugExit5, 5 * 2 + 1, "wrote 5");
}

TEST_F(Running, AWorkloadThatCannotStartSaysSoInTheExitStatus) {
  const auto guest =
      a_.start({"run", "--name", "g", "--memory", "32M", "--kernel", "builtin:workload",
                "--cmdline", "frob=1", "--serial", "file=" + (dir_.path() / "tty").string()});
  EXPECT_EQ(guest->wait(kPatience), 2 * 2 + 1) << guest->errors();
  EXPECT_THAT(read_text(dir_.path() / "tty"), HasSubstr("frob"));
}

TEST_F(Running, EverySignalThatAsksForTheEndStopsItCleanly) {
  for (const int number : {SIGTERM, SIGINT, SIGHUP}) {
    const auto guest = Guest::boot(a_, {.memory = "32M", .workload = "ws=4M"});
    guest->process().signal(number);
    EXPECT_EQ(guest->exit_status(), kDone) << number << ": " << guest->process().errors();
    EXPECT_EQ(guest->process().output(), "");
    EXPECT_TRUE(std::filesystem::is_empty(a_.run_dir())) << number;
  }
}

TEST_F(Running, AStopEndsItAndSoDoesAForcedOne) {
  const auto polite = Guest::boot(a_, {.memory = "32M", .workload = "ws=4M"});
  const CommandResult said = a_.godwit({"stop", polite->name()});
  EXPECT_EQ(said.status, kDone) << said.errors;
  EXPECT_THAT(said.errors, HasSubstr("without being asked"));
  EXPECT_THAT(said.errors, HasSubstr("does not listen to its power button"));
  EXPECT_EQ(polite->exit_status(), kDone);
  const auto stubborn = Guest::boot(a_, {.memory = "32M", .workload = "ws=4M"});
  stubborn->process().signal(SIGSTOP);
  EXPECT_EQ(a_.godwit({"stop", stubborn->name(), "--force"}).status, kDone);
  EXPECT_EQ(stubborn->exit_status(), 128 + SIGKILL);
}

TEST_F(Running, AStopPressesThePowerButtonOfAGuestThatListens) {
  const auto guest = listening(kHeedButton);
  const CommandResult said = a_.godwit({"stop", "tiny"});
  EXPECT_EQ(said.status, kDone) << said.errors;
  EXPECT_THAT(said.errors, HasSubstr("has powered itself off"));
  EXPECT_EQ(guest->wait(kPatience), kDone) << guest->errors();
  EXPECT_THAT(guest->errors(), HasSubstr("the guest powered off"));
}

TEST_F(Running, AGuestThatDoesNotHeedTheButtonIsEndedWhenTheTimeIsUp) {
  const auto guest = listening(kIgnoreButton);
  const CommandResult said = a_.godwit({"stop", "tiny", "--timeout", "100ms"});
  EXPECT_EQ(said.status, kDone) << said.errors;
  EXPECT_THAT(said.errors, HasSubstr("has not powered itself off within 100 ms"));
  EXPECT_EQ(guest->wait(kPatience), kDone) << guest->errors();
}

TEST_F(Running, AStopWithNowOrOfAPausedGuestDoesNotAsk) {
  auto guest = listening(kHeedButton);
  const CommandResult at_once = a_.godwit({"stop", "tiny", "--now"});
  EXPECT_EQ(at_once.status, kDone) << at_once.errors;
  EXPECT_EQ(at_once.errors, "");
  EXPECT_EQ(guest->wait(kPatience), kDone) << guest->errors();
  EXPECT_THAT(guest->errors(), HasSubstr("stopped by request"));

  guest = listening(kHeedButton);
  EXPECT_EQ(a_.godwit({"pause", "tiny"}).status, kDone);
  const CommandResult paused = a_.godwit({"stop", "tiny"});
  EXPECT_EQ(paused.status, kDone) << paused.errors;
  EXPECT_THAT(paused.errors, HasSubstr("without being asked: 'tiny' is paused"));
  EXPECT_EQ(guest->wait(kPatience), kDone) << guest->errors();
}

// --- the console and the run directory

TEST_F(Running, OnStdioStdoutIsTheConsoleAndNothingElse) {
  Arguments arguments = tiny_run(tiny(kPrintH));
  arguments.back() = "stdio";
  const CommandResult result = a_.godwit(arguments);
  EXPECT_EQ(result.status, 5 * 2 + 1) << result.errors;
  EXPECT_EQ(result.output, "H");
}

TEST_F(Running, OnStdioStdinReachesTheGuest) {
  const auto guest =
      a_.start({"run", "--name", "g", "--memory", "32M", "--kernel", "builtin:workload",
                "--cmdline", "ws=4M cpus=1", "--serial", "stdio"},
               {.pipe_input = true});
  EXPECT_TRUE(eventually(
      [&] { return guest->output().find("ready=1") != std::string::npos || !guest->running(); }));
  guest->write("q");
  EXPECT_EQ(guest->wait(kPatience), 1) << guest->errors();
  EXPECT_THAT(guest->output(), HasSubstr("final check=ok"));
}

TEST_F(Running, TheRunDirectoryAndItsSocketsAreTheOwnersAlone) {
  const mode_t old = ::umask(0);
  const auto guest = Guest::boot(a_, {.memory = "32M", .workload = "ws=4M"});
  ::umask(old);
  EXPECT_EQ(mode_of(a_.run_dir()), 0700u);
  EXPECT_EQ(mode_of(a_.run_dir() / "guest.sock"), 0600u);
  guest->stop();
  EXPECT_TRUE(std::filesystem::is_empty(a_.run_dir()));
}

TEST_F(Running, AFullDiskUnderTheConsoleDoesNotStopTheGuest) {
  const auto guest =
      a_.start({"run", "--name", "g", "--memory", "32M", "--kernel", "builtin:workload",
                "--cmdline", "ws=4M cpus=1 duration=1 report=0.1", "--serial", "file=/dev/full"});
  EXPECT_EQ(guest->wait(kPatience), 1) << guest->errors();
  EXPECT_THAT(guest->errors(), HasSubstr("/dev/full"));
}

// --- names

TEST_F(Running, ANameInUseIsRefused) {
  const auto guest = Guest::boot(a_, {.name = "web", .memory = "32M", .workload = "ws=4M"});
  const CommandResult again = a_.godwit({"run", "--name", "web", "--memory", "32M", "--kernel",
                                         "builtin:workload", "--serial", "null"});
  EXPECT_EQ(again.status, kFailed);
  EXPECT_THAT(again.errors, HasSubstr("the name 'web' is in use"));
  EXPECT_THAT(again.errors, HasSubstr(std::to_string(guest->process().pid())));
  EXPECT_EQ(a_.godwit({"receive", "--name", "web", "--listen", kAnyPort, "--plaintext"}).status,
            kFailed);
  EXPECT_EQ(guest->state(), "running");
  guest->expect_good_end();
}

TEST_F(Running, SocketsLeftByAKilledProcessAreReplaced) {
  const std::string tty = (dir_.path() / "tty").string();
  const Arguments run{"run",        "--name",           "web",       "--memory", "32M",
                      "--kernel",   "builtin:workload", "--cmdline", "ws=4M",    "--serial",
                      "unix=" + tty};
  const auto first = a_.start(run);
  EXPECT_TRUE(eventually([&] { return a_.state("web") == "running" || !first->running(); }));
  first->signal(SIGKILL);
  EXPECT_EQ(first->wait(kPatience), 128 + SIGKILL);
  EXPECT_TRUE(std::filesystem::exists(a_.run_dir() / "web.sock"));
  EXPECT_TRUE(std::filesystem::exists(tty));
  EXPECT_EQ(a_.godwit({"info", "web"}).status, kNotFound);
  EXPECT_EQ(a_.godwit({"list", "--json"}).output, "[]\n");

  const auto second = a_.start(run);
  EXPECT_TRUE(eventually([&] { return a_.state("web") == "running" || !second->running(); }));
  EXPECT_TRUE(second->running()) << second->errors();
  EXPECT_EQ(a_.godwit({"stop", "web"}).status, kDone);
}

TEST_F(Running, CommandsForAnUnknownNameSaySo) {
  for (const char* command : {"info", "pause", "resume", "stop", "cancel"}) {
    const CommandResult result = a_.godwit({command, "ghost"});
    EXPECT_EQ(result.status, kNotFound) << command;
    EXPECT_THAT(result.errors, HasSubstr("no instance 'ghost'")) << command;
    EXPECT_EQ(result.output, "") << command;
  }
}

// --- what cannot be booted

TEST_F(Running, AMissingKernelIsNamed) {
  expect_refused(tiny_run("/nonexistent/vmlinux"), "/nonexistent/vmlinux");
}

TEST_F(Running, AFileThatIsNoKernelIsRefused) {
  expect_refused(tiny_run(file("text", std::string(100'000, 'x'))), "kernel");
  expect_refused(tiny_run(file("empty")), "kernel");
  expect_refused(tiny_run(dir_.path().string()), dir_.path().string());
}

TEST_F(Running, AnInitrdThatIsMissingOrDoesNotFitIsRefused) {
  const Arguments run = tiny_run(tiny(kIdle));
  expect_refused(run + Arguments{"--initrd", "/nonexistent/initrd"}, "/nonexistent/initrd");
  const std::string large = file("large");
  std::filesystem::resize_file(large, 64u << 20);
  expect_refused(run + Arguments{"--initrd", large}, "initrd");
}

TEST_F(Running, ACommandLineThatIsTooLongIsRefused) {
  expect_refused(tiny_run(tiny(kIdle)) + Arguments{"--cmdline", std::string(100'000, 'x')},
                 "command line");
}

TEST_F(Running, ImpossibleMachinesAreRefused) {
  const std::string kernel = tiny(kIdle);
  for (const char* memory : {"8M", "5T", "17M", "0", "-1M", "lots"}) {
    Arguments run = tiny_run(kernel);
    run[4] = memory;
    expect_refused(run, memory, kUsage);
  }
  for (const char* cpus : {"0", "65", "-1", "two"})
    expect_refused(tiny_run(kernel) + Arguments{"--cpus", cpus}, "vCPUs", kUsage);
}

TEST_F(Running, HugePagesThatTheHostDoesNotHaveAreRefused) {
  if (read_text("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages") != "0\n")
    GTEST_SKIP() << "this host has huge pages";
  expect_refused(tiny_run(tiny(kIdle)) + Arguments{"--hugepages", "2M"}, "hugepages-2048kB");
}

TEST_F(Running, APortThatIsTakenIsRefused) {
  const auto first = receiver(b_);
  expect_refused({"receive", "--name", "g", "--listen", first->url(), "--plaintext"}, first->url());
  EXPECT_EQ(first->state(), "receiving");
}

TEST_F(Running, AReceiverWithoutItsCertificatesIsRefused) {
  const std::string empty = (dir_.path() / "empty").string();
  std::filesystem::create_directories(empty);
  expect_refused({"receive", "--name", "g", "--listen", kAnyPort, "--tls-dir", empty},
                 empty + "/ca-cert.pem");
}

}  // namespace
}  // namespace godwit::e2e
