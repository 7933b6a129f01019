// A guest that changes its memory faster than it can be sent: what --on-no-converge and --timeout
// promise.
#include "tests/e2e/fixture.h"

namespace godwit::e2e {
namespace {

using testing::AllOf;
using testing::HasSubstr;

class NotConverging : public E2eTest {
 protected:
  void SetUp() override {
    E2eTest::SetUp();
    if (IsSkipped() || HasFailure()) return;
    source_ = Guest::boot(a_, {.workload = "ws=16M rate=max"});
    target_ = receiver(b_);
  }
  // 16 MiB of changed pages all the time, a second's worth of the link.
  Move migrate_slowly(const Arguments& arguments) {
    return migrate(*source_, target_->url(),
                   kPlain +
                       Arguments{"--max-bandwidth", "16MiB", "--downtime-limit", "20ms",
                                 "--compression", "none"} +
                       arguments);
  }

  std::unique_ptr<Guest> source_;
  std::unique_ptr<Guest> target_;
};

TEST_F(NotConverging, WaitingEndsAtTheTimeLimitAndTellsThePredictedDowntime) {
  const Move move = migrate_slowly({"--on-no-converge", "wait", "--timeout", "5s"});
  expect_stays(*source_, move, "not finished within the time limit of 5.0 s");
  EXPECT_THAT(move.reason(), AllOf(HasSubstr("predicted downtime"), HasSubstr("limit 20.000 ms")));
  EXPECT_GT(number_at(move.report, "expected-downtime"), 20);
  EXPECT_EQ(target_->exit_status(), kFailed);
  EXPECT_THAT(target_->process().errors(), HasSubstr("not finished within the time limit"));
}

TEST_F(NotConverging, CancelEndsItOnceItIsCertain) {
  const Move move = migrate_slowly({"--on-no-converge", "cancel", "--converge-timeout", "500ms"});
  expect_stays(*source_, move, "does not converge: predicted downtime", kCancelled);
  EXPECT_THAT(move.reason(), HasSubstr("limit 20.000 ms"));
  EXPECT_FALSE(move.report.at("converging").as_bool());
  EXPECT_EQ(target_->exit_status(), kCancelled);
}

TEST_F(NotConverging, SwitchoverAcceptsTheLongerDowntime) {
  const Move move =
      migrate_slowly({"--on-no-converge", "switchover", "--converge-timeout", "500ms", "--verify"});
  expect_completed(move);
  EXPECT_FALSE(move.report.at("converging").as_bool());
  EXPECT_GT(number_at(move.report, "predicted-downtime"), 20);
  EXPECT_GT(number_at(object_at(move.report, "ram"), "downtime-bytes"), 1 << 20);
  EXPECT_EQ(source_->exit_status(), kDone);
  // It warns of it at the source.
  EXPECT_THAT(source_->process().errors(), HasSubstr("does not converge: predicted downtime"));
  target_->expect_intact();
  target_->expect_good_end();
}

}  // namespace
}  // namespace godwit::e2e
