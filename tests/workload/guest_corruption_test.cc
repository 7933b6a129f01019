// The checker in the running guest can fail: the host breaks its memory behind its back.
#include <fcntl.h>
#include <sys/mman.h>

#include <cstring>

#include "bench/workload/core/page.h"
#include "tests/workload/qemu_fixture.h"
#include "vmm/base/fd.h"
#include "vmm/base/mapping.h"
#include "vmm/base/syscall.h"

namespace godwit::bench {
namespace {

using testing::HasSubstr;
using workload::kFillSequence;
using workload::kPageMagic;
using workload::PageHeader;

class WorkloadChecker : public QemuTest {
 protected:
  // A guest in 64 MiB of a file that this process maps too.
  void boot_mapped(const std::string& command_line) {
    QemuOptions o = options("g", 2, "report=0 " + command_line);
    o.memory_file = dir_.path() / "ram";
    qemu_ = boot(o);
    ASSERT_TRUE(qemu_);
    const UniqueFd fd(check_syscall(::open(o.memory_file.c_str(), O_RDWR | O_CLOEXEC), "open"));
    ram_ = Mapping::map(o.memory.value, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get());
  }
  [[nodiscard]] std::byte* page(uint64_t frame) const { return ram_.data() + frame * kPageSize; }
  [[nodiscard]] PageHeader header(uint64_t frame) const {
    PageHeader h;
    std::memcpy(&h, page(frame), sizeof(h));
    return h;
  }
  // The nth page of the fill region (or of the working set). Frame numbers are file offsets: the
  // guest has no hole.
  uint64_t find_page(bool fill, unsigned n) {
    for (uint64_t frame = 256; frame < ram_.size() / kPageSize; ++frame) {
      const PageHeader h = header(frame);
      if (h.magic != kPageMagic || h.frame != frame) continue;
      if ((h.sequence == kFillSequence) == fill && n-- == 0) return frame;
    }
    ADD_FAILURE() << "no such page";
    return 256;
  }
  void expect_found(const std::string& fault, uint64_t frame) {
    const auto line = qemu_->serial().wait_for("final", kPatience);
    ASSERT_FALSE(line);
    EXPECT_THAT(line.error().message, HasSubstr("check=FAILED"));
    EXPECT_THAT(line.error().message, HasSubstr("fault=" + fault + " "));
    EXPECT_THAT(line.error().message, HasSubstr(fmt::format("page={:#x} ", frame)));
    EXPECT_EQ(qemu_->wait_exit(kPatience).value(), kExitCheckFailed);
  }

  std::unique_ptr<QemuProcess> qemu_;
  Mapping ram_;
};

TEST_F(WorkloadChecker, AFullCheckFindsALostPage) {
  require("tcg");
  if (IsSkipped()) return;
  boot_mapped("ws=1M fill=8M rate=0 sweep=0");
  const uint64_t frame = find_page(true, 1500);
  std::memset(page(frame), 0, kPageSize);
  ASSERT_TRUE(qemu_->serial().send('c'));
  expect_found("lost", frame);
}

TEST_F(WorkloadChecker, TheSweepFindsAMisplacedPageWithoutBeingAsked) {
  require("tcg");
  if (IsSkipped()) return;
  boot_mapped("ws=1M fill=8M rate=1000 sweep=20000");
  const uint64_t frame = find_page(true, 10);
  std::memcpy(page(frame), page(find_page(true, 11)), kPageSize);
  expect_found("misplaced", frame);
}

TEST_F(WorkloadChecker, AWriteFindsASingleFlippedBitInThePageItReplaces) {
  require("tcg");
  if (IsSkipped()) return;
  boot_mapped("ws=1M rate=20000 sweep=0 pattern=seq");
  ASSERT_EQ(answer(qemu_->serial().ask('s', "writing", kPatience)).value("writing"), "0");
  expect_check_ok(*qemu_);  // no write is under way any more
  const uint64_t frame = find_page(false, 200);
  page(frame)[4095] ^= std::byte{1};
  ASSERT_TRUE(qemu_->serial().send('s'));
  expect_found("corrupt", frame);
}

TEST_F(WorkloadChecker, AFullCheckFindsAStalePage) {
  require("tcg");
  if (IsSkipped()) return;
  boot_mapped("ws=1M rate=20000 sweep=0 pattern=seq");
  const auto stop_or_go = [&] { answer(qemu_->serial().ask('s', "writing", kPatience)); };
  stop_or_go();
  expect_check_ok(*qemu_);
  const uint64_t frame = find_page(false, 100);
  const uint64_t old_sequence = header(frame).sequence;
  std::vector<std::byte> old(page(frame), page(frame) + kPageSize);
  const uint64_t round = number(report(*qemu_), "pages") + 1024;  // beyond a whole round
  stop_or_go();
  while (number(report(*qemu_), "pages") < round) {
  }
  stop_or_go();
  expect_check_ok(*qemu_);
  ASSERT_GT(header(frame).sequence, old_sequence);
  std::memcpy(page(frame), old.data(), kPageSize);
  ASSERT_TRUE(qemu_->serial().send('q'));
  expect_found("stale", frame);
}

}  // namespace
}  // namespace godwit::bench
