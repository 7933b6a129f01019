// Disks whose content moves along: files that are made, filled, refused and taken back.
#include "devices/block/disk_volume.h"

#include <gmock/gmock.h>

#include <filesystem>

#include "tests/block/block_fixture.h"

namespace godwit::devices {
namespace {

using testing::HasSubstr;

constexpr uint64_t kBytes = 3 * vmm::kStorageGranule + 4096;
constexpr uint64_t kGuest = 77;

class DiskVolumeTest : public testing::Test {
 protected:
  DiskConfig config(const std::string& name) const {
    DiskConfig disk;
    disk.id = "disk0";
    disk.path = folder_.file(name);
    return disk;
  }
  vmm::VolumeDescription volume(uint64_t size = kBytes) const { return {"disk0", size, "there"}; }
  void expect_refused(const DiskConfig& config, const vmm::VolumeDescription& volume, Errc code,
                      const std::string& text) {
    const auto disk = open_disk(config, &volume);
    ASSERT_FALSE(disk);
    EXPECT_EQ(disk.error().code, code);
    EXPECT_THAT(disk.error().message, HasSubstr(text));
  }
  TempFolder folder_;
  DirtyBlocks changes_{kBytes};
};

TEST_F(DiskVolumeTest, FillsANewFileThatStaysOnceItIsKept) {
  DiskConfig disk_config = config("new");
  disk_config.create = true;
  const auto wanted = volume();
  const auto content = pattern(kBytes, 5);
  {
    auto disk = open_disk(disk_config, &wanted);
    ASSERT_TRUE(disk) << disk.error().message;
    ASSERT_TRUE(lock_disk(*disk, DiskUse::kIncoming, kGuest));
    EXPECT_EQ(file_size(disk_config.path), kBytes);
    const auto here = DiskVolume::of(*disk, changes_);
    EXPECT_EQ(here->description().name, "disk0");
    EXPECT_EQ(here->description().size_bytes, kBytes);
    ASSERT_TRUE(here->write(0, content));
    ASSERT_TRUE(here->write_zeroes(vmm::kStorageGranule, vmm::kStorageGranule));
    ASSERT_TRUE(here->flush());
    here->keep();
    EXPECT_FALSE(here->write(0, content)) << "a guest's disk now";
  }
  auto again = open_disk(disk_config);
  ASSERT_TRUE(again) << again.error().message;
  const auto volume = DiskVolume::of(*again, changes_);
  std::vector<std::byte> read(kBytes);
  ASSERT_TRUE(volume->read(0, read));
  auto expected = content;
  std::fill_n(expected.begin() + vmm::kStorageGranule, vmm::kStorageGranule, std::byte{0});
  EXPECT_TRUE(read == expected);
}

TEST_F(DiskVolumeTest, RemovesAFileThatItMadeAndLeavesOneThatWasThere) {
  const auto wanted = volume();
  DiskConfig made = config("made");
  made.create = true;
  DiskConfig there = config("there");
  make_file(there.path, kBytes);
  for (const DiskConfig& disk_config : {made, there}) {
    auto disk = open_disk(disk_config, &wanted);
    ASSERT_TRUE(disk) << disk.error().message;
    ASSERT_TRUE(DiskVolume::of(*disk, changes_)->write(0, pattern(4096, 1)));
    EXPECT_TRUE(std::filesystem::exists(disk_config.path));
  }
  EXPECT_FALSE(std::filesystem::exists(made.path));
  EXPECT_EQ(file_size(there.path), kBytes);
}

TEST_F(DiskVolumeTest, ReadsAroundHoles) {
  DiskConfig disk_config = config("holes");
  make_file(disk_config.path, kBytes);
  auto disk = open_disk(disk_config);
  ASSERT_TRUE(disk) << disk.error().message;
  const auto volume = DiskVolume::of(*disk, changes_);
  auto queue = disk->backend->create_queue();
  ASSERT_TRUE(queue);
  QueueDriver guest(**queue);
  alignas(4096) static std::array<std::byte, 4096> page;
  page.fill(std::byte{7});
  ASSERT_EQ(guest.write(2 * vmm::kStorageGranule, page), 0);
  const uint64_t data = volume->next_data(0);
  EXPECT_LE(data, 2 * vmm::kStorageGranule);
  EXPECT_EQ(volume->next_data(2 * vmm::kStorageGranule), 2 * vmm::kStorageGranule);
  EXPECT_GE(volume->next_data(2 * vmm::kStorageGranule + 4096),
            data == 0 ? 0 : 2 * vmm::kStorageGranule + 4096);
}

TEST_F(DiskVolumeTest, RefusesWhatItMustNotFill) {
  DiskConfig other_size = config("size");
  make_file(other_size.path, kBytes + 4096);
  expect_refused(other_size, volume(), Errc::kIncompatible, "the source's disk");
  DiskConfig own = config("own");
  make_file(own.path, kBytes);
  auto source = open_disk(own);
  ASSERT_TRUE(source);
  const auto description = DiskVolume::of(*source, changes_)->description();
  expect_refused(own, description, Errc::kPrecondition, "is the source's own disk");
  DiskConfig shared = own;
  shared.share = true;
  expect_refused(shared, volume(), Errc::kInvalidArgument, "path= of this host's own");
  DiskConfig nbd;
  nbd.id = "disk0";
  nbd.nbd_uri = "nbd://nowhere/x";
  expect_refused(nbd, volume(), Errc::kInvalidArgument, "nbd://nowhere/x here is shared");
  expect_refused(config("missing"), volume(), Errc::kNotFound, "missing");
  DiskConfig lost = config("no/where");
  lost.create = true;
  expect_refused(lost, volume(), Errc::kNotFound, "no file can be made");
}

TEST_F(DiskVolumeTest, DoesNotFillADiskThatSomebodyUses) {
  DiskConfig used = config("used");
  make_file(used.path, kBytes);
  auto other = open_disk(used, DiskUse::kRun, kGuest + 1);
  ASSERT_TRUE(other) << other.error().message;
  const auto wanted = volume();
  auto disk = open_disk(used, &wanted);
  ASSERT_TRUE(disk);
  const auto locked = lock_disk(*disk, DiskUse::kIncoming, kGuest);
  ASSERT_FALSE(locked);
  EXPECT_THAT(locked.error().message, HasSubstr("is in use by another VMM"));
}

TEST_F(DiskVolumeTest, ADiskThatItsGuestOnlyReadsIsFilledAndThenSharedByReaders) {
  DiskConfig readonly = config("ro");
  readonly.read_only = true;
  readonly.create = true;
  const auto wanted = volume();
  auto disk = open_disk(readonly, &wanted);
  ASSERT_TRUE(disk) << disk.error().message;
  ASSERT_TRUE(lock_disk(*disk, DiskUse::kIncoming, kGuest));
  EXPECT_TRUE(disk->backend->info().read_only);
  EXPECT_FALSE(open_disk(readonly, DiskUse::kRun, kGuest + 1)) << "not while it is filled";
  const auto volume = DiskVolume::of(*disk, changes_);
  const auto content = pattern(kBytes, 9);
  ASSERT_TRUE(volume->write(0, content));
  volume->keep();
  EXPECT_TRUE(open_disk(readonly, DiskUse::kRun, kGuest + 1)) << "now it is";
  DiskConfig writer = readonly;
  writer.read_only = false;
  EXPECT_FALSE(open_disk(writer, DiskUse::kRun, kGuest + 2)) << "still no writer";
  std::vector<std::byte> read(kBytes);
  ASSERT_TRUE(volume->read(0, read));
  EXPECT_TRUE(read == content);
}

TEST_F(DiskVolumeTest, ADiskThatIsUsedHereIsNotWrittenFromElsewhere) {
  DiskConfig mine = config("mine");
  make_file(mine.path, kBytes);
  auto disk = open_disk(mine);
  ASSERT_TRUE(disk);
  const auto volume = DiskVolume::of(*disk, changes_);
  EXPECT_EQ(volume->write(0, pattern(4096, 1)).error().code, Errc::kPrecondition);
  EXPECT_EQ(volume->write_zeroes(0, 4096).error().code, Errc::kPrecondition);
}

}  // namespace
}  // namespace godwit::devices
