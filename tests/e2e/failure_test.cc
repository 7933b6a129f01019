// Migrations that fail before COMMIT: the guest runs on at the source as if nothing had been, the
// target cleans up, and both say why.
#include <csignal>

#include "tests/e2e/fixture.h"
#include "tests/e2e/relay.h"

namespace godwit::e2e {
namespace {

using testing::HasSubstr;

class Failing : public E2eTest {
 protected:
  void SetUp() override {
    E2eTest::SetUp();
    if (IsSkipped() || HasFailure()) return;
    source_ = Guest::boot(a_, {.workload = "ws=32M rate=5000"});
    target_ = receiver(b_);
  }

  // Two seconds at least for the first pass: time to do something in the middle of it.
  static inline const Arguments kSlowly =
      kPlain + Arguments{"--max-bandwidth", "16MiB", "--multifd-channels", "2"};
  static inline const Arguments kImpatiently = kSlowly + Arguments{"--io-timeout", "1s"};

  // After any failure the guest can still be moved.
  void expect_moves_now() {
    target_ = receiver(b_);
    expect_completed(migrate(*source_, target_->url(), kPlain + Arguments{"--verify"}));
    target_->expect_good_end();
  }
  void expect_target_gives_up(const std::string& reason, int status = kFailed) {
    EXPECT_EQ(target_->exit_status(), status);
    EXPECT_THAT(target_->process().errors(), HasSubstr(reason));
  }

  std::unique_ptr<Guest> source_;
  std::unique_ptr<Guest> target_;
};

TEST_F(Failing, TheTargetIsKilledInMidPrecopy) {
  const auto move = start_migrate(*source_, target_->url(), kSlowly);
  await_precopy(*source_);
  target_->process().signal(SIGKILL);
  expect_stays(*source_, end_of(*move), "connection");
  EXPECT_EQ(target_->exit_status(), 128 + SIGKILL);
  expect_moves_now();
}

TEST_F(Failing, TheTargetIsStuck) {
  const auto move = start_migrate(*source_, target_->url(), kImpatiently);
  await_precopy(*source_);
  target_->process().signal(SIGSTOP);
  expect_stays(*source_, end_of(*move), "1.");
  target_->process().signal(SIGKILL);
}

TEST_F(Failing, TheSourceIsKilledInMidPrecopy) {
  const auto move = start_migrate(*source_, target_->url(), kSlowly);
  await_precopy(*source_);
  source_->process().signal(SIGKILL);
  const Move end = end_of(*move);
  EXPECT_EQ(end.status, kUnknownOutcome) << end.errors;
  expect_target_gives_up("connection");
}

TEST_F(Failing, TheLinkIsCut) {
  const Relay link(target_->url(), {.kind = RelayFault::Kind::kClose, .after_bytes = 4'000'000});
  expect_stays(*source_, migrate(*source_, link.url(), kSlowly), "connection");
  EXPECT_TRUE(link.faulty());
  expect_target_gives_up("connection");
  expect_moves_now();
}

TEST_F(Failing, TheLinkSwallowsEverything) {
  target_->stop(kCancelled);
  target_ = receiver(b_, kPlain + Arguments{"--io-timeout", "1s"});
  const Relay link(target_->url(),
                   {.kind = RelayFault::Kind::kBlackhole, .after_bytes = 4'000'000});
  expect_stays(*source_, migrate(*source_, link.url(), kImpatiently), "1.");
  EXPECT_TRUE(link.faulty());
  expect_target_gives_up("1.");
}

TEST_F(Failing, TheMigrationIsCancelledByCommand) {
  const auto move = start_migrate(*source_, target_->url(), kSlowly);
  await_precopy(*source_);
  const CommandResult cancelled = a_.godwit({"cancel", source_->name()});
  EXPECT_EQ(cancelled.status, kDone) << cancelled.errors;
  expect_stays(*source_, end_of(*move), "cancelled", kCancelled);
  expect_target_gives_up("cancelled on request", kCancelled);
  expect_moves_now();
}

TEST_F(Failing, TheMigrationIsCancelledByAnInterrupt) {
  const auto move = start_migrate(*source_, target_->url(), kSlowly);
  await_precopy(*source_);
  move->signal(SIGINT);
  expect_stays(*source_, end_of(*move), "cancelled", kCancelled);
  expect_target_gives_up("cancelled on request", kCancelled);
}

TEST_F(Failing, TheMigrationIsCancelledAtTheTarget) {
  const auto move = start_migrate(*source_, target_->url(), kSlowly);
  await_precopy(*source_);
  const CommandResult cancelled = b_.godwit({"cancel", target_->name()});
  EXPECT_EQ(cancelled.status, kDone) << cancelled.errors;
  expect_stays(*source_, end_of(*move), "cancelled at the target");
  EXPECT_EQ(target_->exit_status(), kCancelled);
}

TEST_F(Failing, TheTargetIsTerminatedInMidPrecopy) {
  const auto move = start_migrate(*source_, target_->url(), kSlowly);
  await_precopy(*source_);
  target_->process().signal(SIGTERM);
  expect_stays(*source_, end_of(*move), "cancelled at the target");
  EXPECT_EQ(target_->exit_status(), kCancelled);
}

TEST_F(Failing, AWaitingReceiverIsCancelled) {
  EXPECT_EQ(b_.godwit({"cancel", target_->name()}).status, kDone);
  EXPECT_EQ(target_->exit_status(), kCancelled);
}

TEST_F(Failing, NobodyListens) {
  target_->stop(kCancelled);
  expect_stays(*source_, migrate(*source_, target_->url()), "onnect");
}

TEST_F(Failing, NobodyComes) {
  // It may be gone before it could be asked where it listens.
  const auto lonely =
      b_.start(Arguments{"receive", "--name", "lonely", "--serial", "null", "--listen",
                         "tcp://127.0.0.1:0", "--accept-timeout", "100ms"} +
               kPlain);
  EXPECT_EQ(lonely->wait(kPatience), kFailed);
  EXPECT_THAT(lonely->errors(), HasSubstr("nobody connected"));
}

TEST_F(Failing, ASecondMigrationOfTheSameGuestIsRefused) {
  const auto first = start_migrate(*source_, target_->url(), kSlowly);
  await_precopy(*source_);
  const Move second = migrate(*source_, target_->url());
  EXPECT_EQ(second.status, kFailed) << second.errors;
  EXPECT_THAT(second.reason(), HasSubstr("is being migrated"));
  EXPECT_EQ(a_.godwit({"cancel", source_->name()}).status, kDone);
  expect_stays(*source_, end_of(*first), "cancelled", kCancelled);
}

TEST_F(Failing, AReceiverHasNoGuestToMigrate) {
  const Move move = migrate(*target_, "tcp://127.0.0.1:1");
  EXPECT_EQ(move.status, kFailed) << move.errors;
  EXPECT_THAT(move.reason(), HasSubstr("no guest yet"));
}

}  // namespace
}  // namespace godwit::e2e
