// --copy-storage: disks that are a host's own come along. (Guests that write them meanwhile:
// tests/virtio/block_mirror_test.cc, and Linux in tools/lab.)
#include <fmt/format.h>

#include <fstream>
#include <random>

#include "tests/e2e/fixture.h"

namespace godwit::e2e {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr uint64_t kDiskBytes = (9 << 20) + 512;

class CopyStorage : public E2eTest {
 protected:
  void SetUp() override {
    E2eTest::SetUp();
    image_ = dir_.path() / "a.img";
    copy_ = dir_.path() / "b.img";
  }
  // Content, zeroes and a hole.
  static void make_image(const std::filesystem::path& path, uint64_t seed) {
    std::mt19937_64 random(seed);
    std::ofstream file(path, std::ios::binary);
    for (int i = 0; i < (3 << 20) / 8; ++i) {
      const uint64_t word = random();
      file.write(reinterpret_cast<const char*>(&word), sizeof word);
    }
    file.close();
    std::filesystem::resize_file(path, kDiskBytes);
  }
  static std::string content(const std::filesystem::path& path) { return read_text(path); }
  [[nodiscard]] static std::string disk(const std::filesystem::path& path,
                                        const std::string& more = "") {
    return "path=" + path.string() + more;
  }
  std::unique_ptr<Guest> boot(const Arguments& disks) { return Guest::boot(a_, {.more = disks}); }
  std::unique_ptr<Guest> receive(const Arguments& disks, const Arguments& security = kPlain) {
    return receiver(b_, security + disks);
  }
  static inline const Arguments kCopy{"--plaintext", "--copy-storage"};

  std::filesystem::path image_;
  std::filesystem::path copy_;
};

TEST_F(CopyStorage, IntoAFileThatIsMadeForItOverTls) {
  make_image(image_, 1);
  const auto source = boot({"--disk", disk(image_)});
  const auto target = receive({"--disk", disk(copy_, ",create")}, tls());
  EXPECT_FALSE(std::filesystem::exists(copy_)) << "not before the guest comes";
  const Move move =
      migrate(*source, target->url(), tls() + Arguments{"--copy-storage", "--verify"});
  expect_completed(move);
  EXPECT_EQ(source->exit_status(), kDone);
  const auto& report = object_at(move.report, "disk");
  EXPECT_EQ(number_at(report, "disks"), 1);
  EXPECT_EQ(number_at(report, "total"), kDiskBytes);
  EXPECT_EQ(number_at(report, "remaining"), 0);
  EXPECT_EQ(number_at(report, "normal-bytes") + number_at(report, "zero-bytes"), kDiskBytes);
  EXPECT_GE(number_at(report, "normal-bytes"), 3 << 20);
  EXPECT_TRUE(content(image_) == content(copy_));
  target->expect_good_end();
  EXPECT_TRUE(content(image_) == content(copy_)) << "kept when the guest has ended";
}

TEST_F(CopyStorage, OverAFileThatHeldSomethingElseAndBack) {
  make_image(image_, 1);
  make_image(copy_, 2);
  std::filesystem::resize_file(copy_, 0);
  {
    std::ofstream file(copy_, std::ios::binary);
    file << std::string(kDiskBytes, 'x');
  }
  const auto source = boot({"--disk", disk(image_)});
  auto target = receive({"--disk", disk(copy_)});
  expect_completed(migrate(*source, target->url(), kCopy + Arguments{"--verify"}));
  EXPECT_EQ(source->exit_status(), kDone);
  EXPECT_TRUE(content(image_) == content(copy_)) << "zeroes are zero there";
  const auto back = receiver(a_, kPlain + Arguments{"--disk", disk(image_)});
  expect_completed(migrate(*target, back->url(), kCopy + Arguments{"--verify"}));
  EXPECT_TRUE(content(image_) == content(copy_));
  back->expect_good_end();
}

TEST_F(CopyStorage, ReadOnlyDisksToo) {
  make_image(image_, 1);
  const auto source = boot({"--disk", disk(image_, ",readonly")});
  const auto target = receive({"--disk", disk(copy_, ",readonly,create")});
  expect_completed(migrate(*source, target->url(), kCopy + Arguments{"--verify"}));
  EXPECT_TRUE(content(image_) == content(copy_));
  // It is a reader now, as if it had been one from the start.
  const auto reader =
      Guest::boot(b_, {.name = "reader", .more = {"--disk", disk(copy_, ",readonly")}});
  reader->stop();
  target->expect_good_end();
}

TEST_F(CopyStorage, AFileOfAnotherSizeIsRefusedByName) {
  make_image(image_, 1);
  make_image(copy_, 2);
  std::filesystem::resize_file(copy_, kDiskBytes + 512);
  const std::string before = content(copy_);
  const auto source = boot({"--disk", disk(image_)});
  const auto target = receive({"--disk", disk(copy_)});
  const Move move = migrate(*source, target->url(), kCopy);
  expect_stays(*source, move,
               fmt::format("disk disk0: {} has {} bytes and the source's disk {}", copy_.string(),
                           kDiskBytes + 512, kDiskBytes));
  EXPECT_TRUE(content(copy_) == before);
  EXPECT_EQ(target->state(), "receiving");
  source->stop();
}

TEST_F(CopyStorage, TheSourcesOwnFileIsRefused) {
  make_image(image_, 1);
  for (const std::string more : {"", ",lock=off"}) {
    SCOPED_TRACE(more);
    const auto source = boot({"--disk", disk(image_, more)});
    const auto target = receive({"--disk", disk(image_, more)});
    expect_stays(*source, migrate(*source, target->url(), kCopy), "is the source's own disk");
    source->stop();
    target->stop(kCancelled);
  }
}

TEST_F(CopyStorage, AFileThatAnotherGuestUsesIsRefused) {
  make_image(image_, 1);
  make_image(copy_, 2);
  const auto other = Guest::boot(b_, {.name = "other", .more = {"--disk", disk(copy_)}});
  const auto source = boot({"--disk", disk(image_)});
  const auto target = receive({"--disk", disk(copy_)});
  const Move move = migrate(*source, target->url(), kCopy);
  expect_stays(*source, move, "is in use by another VMM");
  EXPECT_THAT(move.reason(), HasSubstr("--copy-storage needs a disk of the target's own"));
  source->stop();
  other->stop();
}

TEST_F(CopyStorage, WithoutItANewFileIsNotMade) {
  make_image(image_, 1);
  const auto source = boot({"--disk", disk(image_)});
  const auto target = receive({"--disk", disk(copy_, ",create")});
  expect_stays(*source, migrate(*source, target->url()), "godwit migrate --copy-storage");
  EXPECT_FALSE(std::filesystem::exists(copy_));
  EXPECT_EQ(a_.godwit({"run", "--name", "x", "--memory", "64M", "--kernel", "builtin:workload",
                       "--disk", disk(copy_, ",create")})
                .status,
            kFailed);
  source->stop();
}

TEST_F(CopyStorage, CancelledAmidTheCopyRemovesWhatWasMadeAndSaysWhatWasNot) {
  make_image(image_, 1);
  const std::filesystem::path second = dir_.path() / "a2.img";
  const std::filesystem::path second_copy = dir_.path() / "b2.img";
  make_image(second, 3);
  make_image(second_copy, 4);
  const auto source = boot({"--disk", disk(image_), "--disk", disk(second)});
  const auto target = receive({"--disk", disk(copy_, ",create"), "--disk", disk(second_copy)});
  const auto move =
      start_migrate(*source, target->url(), kCopy + Arguments{"--max-bandwidth", "2MiB"});
  // Until the second disk is being written.
  EXPECT_TRUE(eventually([&] {
    const auto info = a_.info(source->name());
    const auto* migration = info.if_contains("migration");
    if (migration == nullptr || !migration->as_object().contains("disk")) return false;
    return number_at(object_at(migration->as_object(), "disk"), "transferred") > 3.5 * (1 << 20);
  }));
  EXPECT_EQ(a_.godwit({"cancel", source->name()}).status, kDone);
  expect_stays(*source, end_of(*move), "cancelled", kCancelled);
  EXPECT_EQ(target->exit_status(), kCancelled);
  EXPECT_FALSE(std::filesystem::exists(copy_));
  EXPECT_THAT(target->process().errors(),
              HasSubstr(second_copy.string() + " is incomplete, neither what it was before"));
  EXPECT_THAT(target->process().errors(),
              HasSubstr("the incomplete " + copy_.string() + " is removed"));
  source->stop();
}

TEST_F(CopyStorage, ADiskThatTheTargetSharesIsRefused) {
  make_image(image_, 1);
  make_image(copy_, 2);
  const auto source = boot({"--disk", disk(image_)});
  const auto target = receive({"--disk", disk(copy_, ",share=on")});
  expect_stays(*source, migrate(*source, target->url(), kCopy),
               "give the disk a path= of this host's own");
  source->stop();
}

TEST_F(CopyStorage, AGuestWithoutDisksMovesAsEver) {
  const auto source = boot({});
  const auto target = receive({});
  const Move move = migrate(*source, target->url(), kCopy + Arguments{"--verify"});
  expect_completed(move);
  EXPECT_FALSE(move.report.contains("disk"));
  target->expect_good_end();
}

}  // namespace
}  // namespace godwit::e2e
