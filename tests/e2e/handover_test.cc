// The link breaks at the very moment of COMMIT: one copy runs, or none until somebody says which.
#include "tests/e2e/fixture.h"
#include "tests/e2e/relay.h"

namespace godwit::e2e {
namespace {

using testing::HasSubstr;

// The header of COMMIT as migration/PROTOCOL.md has it, up to its length: page content that has it
// in it is beyond all likelihood.
const std::string kCommit("GWMG\x06\0\0\0\0\0\0\0", 12);

class Handover : public E2eTest {
 protected:
  void SetUp() override {
    E2eTest::SetUp();
    if (IsSkipped() || HasFailure()) return;
    source_ = Guest::boot(a_, {});
    target_ = receiver(b_);
  }
  Move migrate_over(const Relay& link) {
    const Move move = migrate(*source_, link.url(), kPlain);
    EXPECT_TRUE(link.faulty());
    return move;
  }
  std::unique_ptr<Guest> source_;
  std::unique_ptr<Guest> target_;
};

TEST_F(Handover, ALostConfirmationIsAskedForOnANewConnection) {
  const Relay link(
      target_->url(),
      {.kind = RelayFault::Kind::kClose, .at_text = kCommit, .deliver = true, .heals = true});
  const Move move = migrate_over(link);
  EXPECT_EQ(move.status, kDone) << move.errors;
  EXPECT_EQ(move.outcome(), "completed");
  EXPECT_EQ(source_->exit_status(), kDone);
  target_->expect_intact();
  target_->expect_good_end();
}

TEST_F(Handover, ALostCommitIsFoundOutAndTheGuestRunsOnAtTheSource) {
  const Relay link(
      target_->url(),
      {.kind = RelayFault::Kind::kClose, .at_text = kCommit, .deliver = false, .heals = true});
  const Move move = migrate_over(link);
  EXPECT_EQ(move.status, kStaysAtSource) << move.errors;
  EXPECT_EQ(move.outcome(), "failed");
  EXPECT_TRUE(move.report.contains("stall-after-failure"));
  EXPECT_EQ(source_->state(), "running");
  source_->expect_intact();
  EXPECT_EQ(target_->exit_status(), kFailed);
}

TEST_F(Handover, WithoutAnAnswerTheGuestIsPausedUntilSomebodyVouchesForIt) {
  const Relay link(target_->url(),
                   {.kind = RelayFault::Kind::kClose, .at_text = kCommit, .deliver = false});
  const Move move = migrate_over(link);
  EXPECT_EQ(move.status, kUnknownOutcome) << move.errors;
  EXPECT_THAT(move.reason(), HasSubstr("godwit resume"));
  EXPECT_EQ(source_->state(), "unknown");
  const CommandResult refused = a_.godwit({"resume", source_->name()});
  EXPECT_EQ(refused.status, kFailed);
  EXPECT_THAT(refused.errors, HasSubstr("--fenced"));
  EXPECT_EQ(migrate(*source_, link.url()).status, kFailed);
  EXPECT_EQ(target_->exit_status(), kFailed);
  EXPECT_EQ(a_.godwit({"resume", source_->name(), "--fenced"}).status, kDone);
  EXPECT_EQ(source_->state(), "running");
  source_->expect_good_end();
}

TEST_F(Handover, WithoutAnAnswerTheCopyAtTheSourceIsStoppedWhereTheTargetRunsIt) {
  const Relay link(target_->url(),
                   {.kind = RelayFault::Kind::kClose, .at_text = kCommit, .deliver = true});
  const Move move = migrate_over(link);
  EXPECT_EQ(move.status, kUnknownOutcome) << move.errors;
  EXPECT_EQ(source_->state(), "unknown");
  EXPECT_EQ(target_->state(), "running");
  source_->stop();
  target_->expect_good_end();
}

}  // namespace
}  // namespace godwit::e2e
