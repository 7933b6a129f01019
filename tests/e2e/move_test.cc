// Guests that move and arrive.
#include "tests/e2e/fixture.h"

namespace godwit::e2e {
namespace {

class Moving : public E2eTest {};

TEST_F(Moving, AGuestUnderLoadArrivesIntactAndItsOldProcessEndsWithSuccess) {
  const auto source = Guest::boot(a_, {});
  const auto target = receiver(b_);
  expect_completed(migrate(*source, target->url(), kPlain + Arguments{"--verify"}));
  EXPECT_EQ(source->exit_status(), kDone) << source->process().errors();
  EXPECT_EQ(target->state(), "running");
  target->expect_intact();
  target->expect_good_end();
}

}  // namespace
}  // namespace godwit::e2e
