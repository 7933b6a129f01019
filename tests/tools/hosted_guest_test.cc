#include "tools/godwit/process/hosted_guest.h"

#include <gmock/gmock.h>

#include <future>

#include "tests/tools/fake_machine.h"

namespace godwit::tools {
namespace {
using migration::Status;
using testing::ElementsAre;

class HostedGuestTest : public testing::Test {
 protected:
  explicit HostedGuestTest(const std::string& refusal = "") {
    HostedGuest::Config config;
    config.name = "web";
    config.reboot.boot.kernel = "vmlinux";
    config.reboot.refusal = refusal;
    config.make_sender = [this](vmm::Machine&, const MigrationRequest&,
                                Observer observer) -> Result<std::unique_ptr<Sender>> {
      observer_ = std::move(observer);
      return std::unique_ptr<Sender>(std::make_unique<FakeSender>(steering));
    };
    config.on_end = [this](const Ending& how) {
      ending = how;
      loop.stop();
    };
    guest = std::make_unique<HostedGuest>(loop, std::move(config));
    thread_ = std::jthread([this] { loop.run(); });
  }
  ~HostedGuestTest() override {
    loop.stop();
    thread_.join();
  }
  // Runs on the loop's thread, as the API does.
  template <class F>
  auto on_loop(F task) {
    std::promise<decltype(task())> result;
    loop.post([&] { result.set_value(task()); });
    return result.get_future().get();
  }
  void start(bool listens = true) {
    on_loop([&] {
      auto made = std::make_unique<FakeMachine>(journal);
      made->listens = listens;
      machine = made.get();
      guest->start(std::move(made));
      return 0;
    });
  }
  void receive() {
    on_loop([&] {
      guest->receive(std::make_unique<FakeReceiver>(steering, journal), "tcp://0.0.0.0:7000");
      return 0;
    });
  }
  Result<> migrate() {
    return on_loop([&] { return guest->send_migration({.destination = "tcp://h:1"}); });
  }
  Result<> press() {
    return on_loop([&] { return guest->press_power_button(); });
  }
  // Until that has happened so many times.
  void wait_for(const std::string& entry, int times) {
    const auto count = [&] {
      const auto entries = journal.entries();
      return std::count(entries.begin(), entries.end(), entry);
    };
    for (int i = 0; i < 3000 && count() < times; ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    ASSERT_EQ(count(), times);
    on_loop([] { return 0; });
  }
  void wait_for_result() {
    for (int i = 0; i < 3000 && !guest->migration().result; ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    ASSERT_TRUE(guest->migration().result);
  }
  void wait_for_end() {
    thread_.join();
    thread_ = std::jthread([] {});
    ASSERT_TRUE(ending);
  }

  Journal journal;
  Steering steering;
  EventLoop loop;
  std::optional<Ending> ending;
  Observer observer_;
  FakeMachine* machine = nullptr;  // until it is replaced
  std::unique_ptr<HostedGuest> guest;
  std::jthread thread_;
};

TEST_F(HostedGuestTest, PausesAndResumesTheMachineOnce) {
  start();
  EXPECT_TRUE(on_loop([&] { return guest->pause(); }));
  EXPECT_TRUE(on_loop([&] { return guest->pause(); }));
  EXPECT_EQ(on_loop([&] { return guest->info(); }).state, GuestState::kPaused);
  EXPECT_TRUE(on_loop([&] { return guest->resume(false); }));
  EXPECT_TRUE(on_loop([&] { return guest->resume(false); }));
  EXPECT_THAT(journal.entries(), ElementsAre("resume", "pause", "resume"));
  EXPECT_EQ(on_loop([&] { return guest->info(); }).vcpus, 3u);
}

TEST_F(HostedGuestTest, PowerOffEndsWithStatusZero) {
  start();
  guest->power_off();
  wait_for_end();
  EXPECT_EQ(ending->status, 0);
  EXPECT_THAT(journal.entries(), ElementsAre("resume", "shut down"));
}

TEST_F(HostedGuestTest, ThePowerButtonReachesAGuestThatListens) {
  start();
  EXPECT_TRUE(press());
  EXPECT_EQ(on_loop([&] { return guest->info(); }).state, GuestState::kRunning);
  EXPECT_THAT(journal.entries(), ElementsAre("resume", "button"));
}

TEST_F(HostedGuestTest, AButtonThatNobodyWouldHearOfIsRefusedWithTheReason) {
  receive();
  EXPECT_NE(press().error().message.find("waits for one"), std::string::npos);
  steering.arrived.set(true);
  wait_for_result();
  ASSERT_TRUE(on_loop([&] { return guest->pause(); }));
  const auto paused = press();
  ASSERT_FALSE(paused);
  EXPECT_EQ(paused.error().code, Errc::kPrecondition);
  EXPECT_NE(paused.error().message.find("is paused"), std::string::npos);
}

TEST_F(HostedGuestTest, AGuestWithoutADriverForTheButtonIsNamed) {
  start(/*listens=*/false);
  const auto pressed = press();
  ASSERT_FALSE(pressed);
  EXPECT_EQ(pressed.error().code, Errc::kPrecondition);
  EXPECT_NE(pressed.error().message.find("does not listen"), std::string::npos);
}

TEST_F(HostedGuestTest, AButtonDuringAMigrationCancelsItAndIsPressedThen) {
  start();
  ASSERT_TRUE(migrate());
  EXPECT_TRUE(press());
  wait_for_result();
  EXPECT_EQ(guest->migration().result->progress.status, Status::kCancelled);
  on_loop([] { return 0; });
  EXPECT_THAT(journal.entries(), ElementsAre("resume", "button"));
}

TEST_F(HostedGuestTest, AButtonThatComesTooLateForTheMigrationIsNotPressedHere) {
  start();
  ASSERT_TRUE(migrate());
  on_loop([&] {
    steering.sent.set(ended(Status::kCompleted));
    return guest->press_power_button().has_value();
  });
  wait_for_end();
  EXPECT_THAT(journal.entries(), ElementsAre("resume", "shut down, elsewhere"));
}

TEST_F(HostedGuestTest, AButtonAfterAnUnknownOutcomeIsRefused) {
  start();
  ASSERT_TRUE(migrate());
  steering.sent.set(ended(Status::kUnknown, Errc::kUnknownOutcome));
  wait_for_result();
  EXPECT_FALSE(press());
  EXPECT_THAT(journal.entries(), ElementsAre("resume"));
}

TEST_F(HostedGuestTest, DebugExitEndsWithQemusStatus) {
  start();
  guest->debug_exit(0x10);
  wait_for_end();
  EXPECT_EQ(ending->status, 33);
}

TEST_F(HostedGuestTest, FaultEndsWithStatusOne) {
  start();
  guest->fault("KVM_EXIT_INTERNAL_ERROR");
  wait_for_end();
  EXPECT_EQ(ending->status, 1);
}

TEST_F(HostedGuestTest, TheFirstEndCounts) {
  start();
  guest->debug_exit(1);
  guest->power_off();
  wait_for_end();
  EXPECT_EQ(ending->status, 3);
}

TEST_F(HostedGuestTest, AResetMakesTheMachineAnewUnderTheSameName) {
  start();
  guest->reset();
  wait_for("resume", 2);
  EXPECT_THAT(journal.entries(), ElementsAre("resume", "reboot vmlinux", "destroyed", "resume"));
  const GuestInfo info = on_loop([&] { return guest->info(); });
  EXPECT_EQ(info.state, GuestState::kRunning);
  EXPECT_EQ(info.name, "web");
  EXPECT_TRUE(on_loop([&] { return guest->pause(); }));
}

TEST_F(HostedGuestTest, OnlyTheFirstWordOfAMachineCounts) {
  start();
  guest->reset();
  guest->reset();
  guest->power_off();  // by another vCPU, of the machine that is about to go
  wait_for("resume", 2);
  on_loop([] { return 0; });
  EXPECT_FALSE(ending);
  guest->power_off();
  wait_for_end();
  EXPECT_EQ(ending->status, 0);
}

TEST_F(HostedGuestTest, AGuestThatDoesNothingButResetIsEnded) {
  start();
  guest->reset();
  wait_for("resume", 2);
  guest->reset();
  wait_for("resume", 3);
  guest->reset();
  wait_for_end();
  EXPECT_EQ(ending->status, 1);
  EXPECT_NE(ending->reason.find("over and over"), std::string::npos);
}

TEST_F(HostedGuestTest, ARebootForWhichTheHostHasNotGotItAllEndsWithTheReason) {
  start();
  on_loop([&] {
    machine->reboot_error = make_error(Errc::kNotFound, "vmlinux is gone");
    return 0;
  });
  guest->reset();
  wait_for_end();
  EXPECT_EQ(ending->status, 1);
  EXPECT_NE(ending->reason.find("vmlinux is gone"), std::string::npos);
}

TEST_F(HostedGuestTest, AResetDuringAMigrationCancelsItAndTheGuestRebootsHere) {
  start();
  ASSERT_TRUE(migrate());
  guest->reset();                                // when it returns the engine has been told
  steering.sent.set(ended(Status::kCompleted));  // comes too late
  wait_for("resume", 2);
  EXPECT_EQ(guest->migration().result->progress.status, Status::kCancelled);
  EXPECT_NE(guest->migration().result->error->message.find("reset itself"), std::string::npos);
  EXPECT_EQ(on_loop([&] { return guest->info(); }).state, GuestState::kRunning);
}

TEST_F(HostedGuestTest, AStopBeforeTheRebootEndsTheGuest) {
  start();
  on_loop([&] {
    guest->reset();
    guest->end({0, "a signal"});
    return 0;
  });
  wait_for_end();
  EXPECT_THAT(journal.entries(), ElementsAre("resume", "shut down"));
}

TEST_F(HostedGuestTest, AReceivedGuestRebootsAsSoonAsItHasArrived) {
  receive();
  on_loop([&] {
    steering.arrived.set(true);
    guest->reset();  // before the news of the arrival is heard
    return 0;
  });
  wait_for("resume", 1);
  EXPECT_EQ(on_loop([&] { return guest->info(); }).kernel, "vmlinux");
}

class NoRebootTest : public HostedGuestTest {
 protected:
  NoRebootTest() : HostedGuestTest("--no-reboot") {}
};

TEST_F(NoRebootTest, AResetEndsTheGuestAndSaysWhy) {
  start();
  guest->reset();
  wait_for_end();
  EXPECT_EQ(ending->status, 0);
  EXPECT_NE(ending->reason.find("--no-reboot"), std::string::npos);
  EXPECT_THAT(journal.entries(), ElementsAre("resume", "shut down"));
}

TEST_F(HostedGuestTest, CompletedMigrationEndsTheSourceWithStatusZero) {
  start();
  ASSERT_TRUE(migrate());
  steering.sent.set(ended(Status::kCompleted));
  wait_for_end();
  EXPECT_EQ(ending->status, 0);
  EXPECT_THAT(journal.entries(), ElementsAre("resume", "shut down, elsewhere"));
  EXPECT_EQ(guest->migration().result->progress.status, Status::kCompleted);
}

TEST_F(HostedGuestTest, FailedMigrationLeavesTheGuestInService) {
  start();
  ASSERT_TRUE(migrate());
  steering.sent.set(ended(Status::kFailed));
  wait_for_result();
  EXPECT_FALSE(ending);
  EXPECT_EQ(on_loop([&] { return guest->info(); }).state, GuestState::kRunning);
  EXPECT_TRUE(on_loop([&] { return guest->pause(); }));
}

TEST_F(HostedGuestTest, NothingElseControlsTheMachineDuringAMigration) {
  start();
  ASSERT_TRUE(migrate());
  for (const auto& refused : {on_loop([&] { return guest->pause(); }),
                              on_loop([&] { return guest->resume(true); }), migrate()}) {
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, Errc::kPrecondition);
  }
  EXPECT_TRUE(on_loop([&] { return guest->cancel_migration(); }));
  wait_for_result();
  EXPECT_EQ(guest->migration().result->progress.status, Status::kCancelled);
  EXPECT_FALSE(on_loop([&] { return guest->cancel_migration(); }));
}

TEST_F(HostedGuestTest, UnknownOutcomeStaysPausedUntilFenced) {
  start();
  ASSERT_TRUE(migrate());
  steering.sent.set(ended(Status::kUnknown, Errc::kUnknownOutcome));
  wait_for_result();
  EXPECT_EQ(on_loop([&] { return guest->info(); }).state, GuestState::kUnknownOutcome);
  EXPECT_FALSE(on_loop([&] { return guest->resume(false); }));
  EXPECT_FALSE(migrate());
  EXPECT_THAT(journal.entries(), ElementsAre("resume"));
  EXPECT_TRUE(on_loop([&] { return guest->resume(true); }));
  EXPECT_THAT(journal.entries(), ElementsAre("resume", "resume"));
}

TEST_F(HostedGuestTest, PowerOffDuringAMigrationCancelsItBeforeThePauseCanEnd) {
  start();
  ASSERT_TRUE(migrate());
  guest->power_off();  // on a vCPU's thread; when it returns the engine has been told
  steering.sent.set(ended(Status::kCompleted));  // comes too late
  wait_for_end();
  EXPECT_EQ(guest->migration().result->progress.status, Status::kCancelled);
  EXPECT_NE(guest->migration().result->error->message.find("ended during"), std::string::npos);
  EXPECT_THAT(journal.entries(), ElementsAre("resume", "shut down"));
}

TEST_F(HostedGuestTest, StopDuringAMigrationCancelsItFirst) {
  start();
  ASSERT_TRUE(migrate());
  ASSERT_TRUE(on_loop([&] { return guest->shut_down(); }));
  wait_for_end();
  EXPECT_EQ(guest->migration().result->progress.status, Status::kCancelled);
  EXPECT_EQ(ending->status, 0);
}

TEST_F(HostedGuestTest, BlackoutWakesNobodyAndTheResultDoes) {
  start();
  std::atomic<int> woken{0};
  guest->on_migration_change([&] { ++woken; });
  ASSERT_TRUE(migrate());
  const int before = woken;
  migration::Progress progress;
  progress.status = Status::kDevice;
  observer_(progress);
  progress.status = Status::kCompleted;  // final: the result says it
  observer_(progress);
  EXPECT_EQ(woken, before);
  EXPECT_EQ(guest->migration().progress.status, Status::kDevice);
  progress.status = Status::kActive;
  observer_(progress);
  EXPECT_EQ(woken, before + 1);
}

TEST_F(HostedGuestTest, AReceivedGuestIsInServiceLikeAFreshOne) {
  receive();
  EXPECT_EQ(on_loop([&] { return guest->info(); }).state, GuestState::kReceiving);
  EXPECT_FALSE(on_loop([&] { return guest->pause(); }));
  steering.arrived.set(true);
  wait_for_result();
  const GuestInfo info = on_loop([&] { return guest->info(); });
  EXPECT_EQ(info.state, GuestState::kRunning);
  EXPECT_EQ(info.vcpus, 3u);
  EXPECT_TRUE(info.listen.empty());
  EXPECT_TRUE(on_loop([&] { return guest->pause(); }));
}

TEST_F(HostedGuestTest, TheSourcesFiguresReachTheTargetAndTheAddressIsFree) {
  receive();
  steering.arrived.set(true);
  wait_for_result();
  EXPECT_FALSE(steering.receiver_gone);
  EXPECT_FALSE(guest->migration().result->downtime);
  migration::MigrationResult figures;
  figures.progress.status = Status::kCompleted;
  figures.downtime = std::chrono::microseconds(400);
  steering.settled(figures);
  on_loop([] { return 0; });
  EXPECT_TRUE(steering.receiver_gone);
  EXPECT_EQ(guest->migration().result->downtime, std::chrono::microseconds(400));
}

TEST_F(HostedGuestTest, ATargetThatHeardNothingMoreKeepsWhatItKnows) {
  receive();
  steering.arrived.set(true);
  wait_for_result();
  steering.settled(std::nullopt);
  on_loop([] { return 0; });
  EXPECT_TRUE(steering.receiver_gone);
  EXPECT_EQ(guest->migration().result->progress.status, Status::kCompleted);
}

TEST_F(HostedGuestTest, CancelledWaitEndsWithStatusFive) {
  receive();
  EXPECT_TRUE(on_loop([&] { return guest->cancel_migration(); }));
  wait_for_end();
  EXPECT_EQ(ending->status, 5);
  EXPECT_THAT(journal.entries(), ElementsAre());
}

TEST_F(HostedGuestTest, StopThatComesTooLateForTheWaitEndsTheGuest) {
  receive();
  on_loop([&] {
    steering.arrived.set(true);
    guest->end({0, "a signal"});
    return 0;
  });
  wait_for_end();
  EXPECT_EQ(ending->status, 0);
  EXPECT_THAT(journal.entries(), ElementsAre("shut down"));
}

}  // namespace
}  // namespace godwit::tools
