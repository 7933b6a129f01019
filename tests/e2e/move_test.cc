// Guests that move and arrive: by any kind of link, again and again, running and paused.
#include <fmt/format.h>

#include "tests/e2e/fixture.h"

namespace godwit::e2e {
namespace {

using testing::HasSubstr;
using testing::Not;

class Moving : public E2eTest {
 protected:
  // Moves a guest between two receivers at such URLs.
  void expect_move_over(const std::string& url, const Arguments& security) {
    const auto source = Guest::boot(a_, {});
    const auto target = receiver(b_, security, url);
    EXPECT_THAT(target->url(), testing::StartsWith(url.substr(0, url.rfind(':'))));
    expect_completed(migrate(*source, target->url(), security + Arguments{"--verify"}));
    EXPECT_EQ(source->exit_status(), kDone) << source->process().errors();
    EXPECT_EQ(target->state(), "running");
    target->expect_good_end();
  }
};

TEST_F(Moving, TcpOverIpv6) {
  expect_move_over("tcp://[::1]:0", kPlain);
}

TEST_F(Moving, TlsOverIpv6) {
  expect_move_over("tcp://[::1]:0", tls());
}

TEST_F(Moving, AUnixSocket) {
  expect_move_over("unix://" + (dir_.path() / "link").string(), kPlain);
}

TEST_F(Moving, IntoMemoryThatWasMadeInAdvance) {
  const auto source = Guest::boot(a_, {.memory = "64M"});
  const auto target = receiver(b_, kPlain + Arguments{"--memory", "64M", "--prealloc"});
  EXPECT_THAT(read_text(fmt::format("/proc/{}/maps", target->process().pid())),
              HasSubstr("godwit-guest-ram"));
  expect_completed(migrate(*source, target->url(), kPlain + Arguments{"--verify"}));
  EXPECT_THAT(target->process().errors(), Not(HasSubstr("does not fit")));
  target->expect_good_end();
}

TEST_F(Moving, AGuestOfAnotherSizeThanWasExpectedArrivesToo) {
  const auto source = Guest::boot(a_, {.memory = "64M"});
  const auto target = receiver(b_, kPlain + Arguments{"--memory", "32M"});
  expect_completed(migrate(*source, target->url(), kPlain + Arguments{"--verify"}));
  EXPECT_THAT(target->process().errors(),
              HasSubstr("the guest has 64.0 MiB of memory, not the 32.0 MiB that --memory says"));
  target->expect_good_end();
}

TEST_F(Moving, TenTimesBackAndForthLosesNothing) {
  constexpr int kMoves = 10;
  auto guest = Guest::boot(a_, {.workload = "ws=16M rate=20000 fill=8M"});
  uint64_t pages = guest->pages_written();
  for (int move = 0; move < kMoves; ++move) {
    SCOPED_TRACE(testing::Message() << "move " << move);
    auto target = receiver(move % 2 == 0 ? b_ : a_, move % 4 < 2 ? tls() : kPlain);
    const Arguments security = move % 4 < 2 ? tls() : kPlain;
    expect_completed(migrate(*guest, target->url(), security + Arguments{"--verify"}));
    EXPECT_EQ(guest->exit_status(), kDone);
    guest = std::move(target);
    const uint64_t later = guest->pages_written();
    EXPECT_GE(later, pages);
    pages = later;
    if (HasFailure()) return;
  }
  guest->expect_intact();
  EXPECT_GT(guest->pages_written(), pages);
  guest->expect_good_end();
}

TEST_F(Moving, ToAHostWhoseClockStartedAtAnotherTime) {
  const Arguments older{"unshare", "--time", "--monotonic=100000"};
  Host other(dir_.path() / "other", "", older);
  if (other.godwit({"version"}).status != kDone) GTEST_SKIP() << "no time namespaces here";
  const auto source = Guest::boot(a_, {});
  const auto target = receiver(other);
  const Move move = migrate(*source, target->url(), kPlain + Arguments{"--verify"});
  expect_completed(move);
  const auto& ledger = object_at(move.report, "ledger");
  EXPECT_NEAR(number_at(ledger, "clock-offset"), 1e8, 1e3);
  EXPECT_LT(number_at(ledger, "total"), 1e6);
  target->expect_good_end();
}

TEST_F(Moving, AGuestOfAsManyVcpusAsCanBe) {
  const CommandResult too_many = a_.godwit(
      {"run", "--name", "x", "--memory", "64M", "--cpus", "65", "--kernel", "builtin:workload"});
  EXPECT_EQ(too_many.status, kUsage);
  const auto source = Guest::boot(a_, {.cpus = 64, .workload = "ws=16M rate=200"});
  const auto target = receiver(b_);
  const Arguments patient{"--verify", "--downtime-limit", "5s"};
  expect_completed(migrate(*source, target->url(), kPlain + patient));
  EXPECT_EQ(number_at(b_.info(target->name()), "vcpus"), 64);
  target->expect_intact();
  target->expect_good_end();
}

TEST_F(Moving, APausedGuestArrivesPausedAndGoesOnThere) {
  const auto source = Guest::boot(a_, {});
  EXPECT_EQ(a_.godwit({"pause", source->name()}).status, kDone);
  const auto target = receiver(b_);
  const Move move = migrate(*source, target->url(), kPlain + Arguments{"--verify"});
  EXPECT_EQ(move.status, kDone) << move.errors;
  EXPECT_TRUE(object_at(move.report, "verify").at("equal").as_bool());
  EXPECT_EQ(source->exit_status(), kDone);
  EXPECT_EQ(target->state(), "paused");
  EXPECT_EQ(b_.godwit({"resume", target->name()}).status, kDone);
  EXPECT_EQ(target->state(), "running");
  target->expect_intact();
  target->expect_good_end();
}

TEST_F(Moving, TheInstanceKeepsItsPlaceInTheListUnderTheTargetsName) {
  const auto source = Guest::boot(a_, {.name = "web"});
  const auto target = Guest::receive(a_, {"--listen", kAnyPort, "--plaintext"}, "web2");
  EXPECT_THAT(a_.godwit({"list"}).output,
              testing::AllOf(testing::HasSubstr("web "), testing::HasSubstr("receiving")));
  EXPECT_EQ(migrate(*source, target->url()).status, kDone);
  EXPECT_EQ(source->exit_status(), kDone);
  const boost::json::object info = a_.info("web2");
  EXPECT_EQ(text_at(info, "state"), "running");
  EXPECT_EQ(number_at(info, "vcpus"), 1);
  EXPECT_EQ(number_at(info, "memory"), 64 << 20);
  EXPECT_EQ(number_at(info, "pid"), target->process().pid());
  EXPECT_EQ(text_at(object_at(info, "migration"), "status"), "completed");
  EXPECT_EQ(a_.godwit({"info", "web"}).status, kNotFound);
  target->expect_good_end();
}

TEST_F(Moving, WithoutJsonTheReportHasTheIterationsAndTheLedger) {
  const auto source = Guest::boot(a_, {});
  const auto target = receiver(b_);
  const CommandResult result =
      a_.godwit({"migrate", source->name(), target->url(), "--plaintext", "--verify"});
  EXPECT_EQ(result.status, kDone) << result.errors;
  for (const char* part : {"'guest' runs at the target", "Iterations", "Downtime ledger",
                           "final-harvest", "total", "memory", "identical: "})
    EXPECT_THAT(result.output, testing::HasSubstr(part));
  EXPECT_EQ(source->exit_status(), kDone);
  target->expect_good_end();
}

}  // namespace
}  // namespace godwit::e2e
