// A target host that has not what the guest needs, and a cable that is pulled.
#include <sys/sysinfo.h>

#include <cstdlib>
#include <fstream>

#include "tests/e2e/fixture.h"
#include "tests/e2e/link.h"

namespace godwit::e2e {
namespace {

using testing::HasSubstr;

class HostLimits : public E2eTest {
 protected:
  // The target refuses the guest for `reason`, before any page travels, and goes on waiting.
  void expect_refused_at(Guest& target, const std::string& reason,
                         const std::string& memory = "256M") {
    const auto source = Guest::boot(a_, {.memory = memory});
    const Move move = migrate(*source, target.url());
    expect_stays(*source, move, reason);
    EXPECT_THAT(move.reason(), HasSubstr("the target gave up"));
    EXPECT_EQ(number_at(object_at(move.report, "ram"), "transferred"), 0);
    EXPECT_EQ(target.state(), "receiving");
    EXPECT_THAT(target.process().errors(), HasSubstr(reason));
  }
};

TEST_F(HostLimits, HugePagesThatTheTargetDoesNotHaveAreNamedAtTheSource) {
  if (read_text("/sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages") != "0\n")
    GTEST_SKIP() << "this host has huge pages of 1 GiB, or its CPU has none";
  const auto target = receiver(b_, kPlain + Arguments{"--hugepages", "1G"});
  expect_refused_at(*target, "hugepages-1048576kB/nr_hugepages", "1G");
}

// Huge pages in the host's pool for as long as this lives; fewer than asked for if it has no room.
class HugePages {
 public:
  explicit HugePages(int count) : before_(read_text(kPool)) {
    std::ofstream(kPool) << number(before_) + count;
  }
  ~HugePages() { std::ofstream(kPool) << before_; }
  HugePages(const HugePages&) = delete;
  HugePages& operator=(const HugePages&) = delete;
  [[nodiscard]] static int free() { return number(read_text(kFree)); }

 private:
  static int number(const std::string& text) { return std::atoi(text.c_str()); }
  static constexpr const char* kPool = "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages";
  static constexpr const char* kFree = "/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages";
  std::string before_;
};

TEST_F(HostLimits, GuestsMoveBetweenHugePagesAndOrdinaryOnes) {
  const HugePages pool(32);
  if (HugePages::free() < 32) GTEST_SKIP() << "this host gives no 32 huge pages of 2 MiB";
  const auto first = Guest::boot(a_, {.more = {"--hugepages", "2M"}});
  EXPECT_LT(HugePages::free(), 32);
  const auto second = receiver(b_, kPlain + Arguments{"--hugepages", "transparent"});
  expect_completed(migrate(*first, second->url(), kPlain + Arguments{"--verify"}));
  EXPECT_EQ(first->exit_status(), kDone);
  const auto third = receiver(a_, kPlain + Arguments{"--hugepages", "2M"});
  expect_completed(migrate(*second, third->url(), kPlain + Arguments{"--verify"}));
  third->expect_good_end();
}

TEST_F(HostLimits, ATargetWithoutRoomForTheMemoryRefusesTheGuest) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "sanitizers need more address space than this test leaves";
#endif
  constexpr rlim_t kAddressSpace = 300u << 20;
  const auto target = Guest::receive(b_, Arguments{"--listen", kAnyPort} + kPlain, "guest",
                                     {.address_space = kAddressSpace});
  expect_refused_at(*target, "Cannot allocate memory");
}

// All memory that this host has, and 2 MiB. A guest of that size boots: it uses little of it.
uint64_t more_mib_than_this_host_has() {
  struct sysinfo host {};
  if (::sysinfo(&host) != 0) return 0;
  return (((host.totalram + host.totalswap) * host.mem_unit >> 21) + 1) * 2;
}

class LargeGuest : public HostLimits {
 protected:
  void SetUp() override {
    HostLimits::SetUp();
    if (IsSkipped()) return;
    if (more_mib_ > (64u << 10))
      GTEST_SKIP() << "more than 64 GiB here: KVM's tables get too large";
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    GTEST_SKIP() << "sanitizers shadow all of the guest's memory";
#endif
  }
  uint64_t more_mib_ = more_mib_than_this_host_has();
  std::string memory_ = std::to_string(more_mib_) + "M";
};

TEST_F(LargeGuest, IsRefusedByATargetThatCouldNotGiveItsMemory) {
  const auto target = receiver(b_);
  expect_refused_at(*target, "that this host could give now", memory_);
}

TEST_F(LargeGuest, IsTakenByATargetThatIsToldToOvercommit) {
  const auto source = Guest::boot(a_, {.memory = memory_});
  const auto target = receiver(b_, kPlain + Arguments{"--overcommit"});
  // Without --verify, which reads all memory and so would have it given.
  const Move move = end_of(*start_migrate(*source, target->url(), kPlain));
  EXPECT_EQ(move.status, kDone) << move.errors;
  EXPECT_EQ(move.outcome(), "completed");
  EXPECT_EQ(source->exit_status(), kDone);
  target->expect_good_end();
}

TEST_F(HostLimits, APulledCableLeavesTheGuestAtTheSource) {
  Link link;
  if (!link.why().empty()) GTEST_SKIP() << link.why();
  Host left(dir_.path() / "left", link.left());
  Host right(dir_.path() / "right", link.right());
  const auto source = Guest::boot(left, {.workload = "ws=32M rate=5000"});
  const Arguments impatient{"--plaintext", "--io-timeout", "1s"};
  const auto target =
      receiver(right, impatient, std::string("tcp://") + Link::kRightAddress + ":0");
  const auto move =
      start_migrate(*source, target->url(), impatient + Arguments{"--max-bandwidth", "16MiB"});
  await_precopy(*source);
  link.pull();
  expect_stays(*source, end_of(*move), "1.");
  EXPECT_EQ(target->exit_status(), kFailed);
  source->expect_good_end();
}

}  // namespace
}  // namespace godwit::e2e
