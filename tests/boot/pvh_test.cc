#include "vmm/boot/pvh.h"

#include <gtest/gtest.h>

#include "tests/boot/boot_images.h"
#include "vmm/boot/boot_layout.h"
#include "vmm/boot/elf.h"
#include "vmm/boot/kernel.h"
#include "vmm/boot/memory_map.h"

namespace godwit::vmm {
namespace {

using namespace test;  // NOLINT(google-build-using-namespace)

class PvhLoader : public testing::Test {
 protected:
  Result<BootEntry> load(const TestElf& elf) { return load_bytes(elf.build()); }
  Result<BootEntry> load_bytes(const Bytes& bytes) {
    const Image kernel = Image::of(bytes, "/k");
    const Image initrd = Image::of(initrd_, "/i");
    return load_kernel(*memory_, {.kernel = kernel,
                                  .initrd = initrd_.empty() ? nullptr : &initrd,
                                  .command_line = command_line_,
                                  .acpi_rsdp = rsdp_});
  }
  void expect_error(const TestElf& elf, Errc code, std::string_view text) {
    const auto result = load(elf);
    ASSERT_FALSE(result.has_value()) << "expected: " << text;
    EXPECT_EQ(result.error().code, code) << result.error().message;
    EXPECT_NE(result.error().message.find(text), std::string::npos) << result.error().message;
    EXPECT_TRUE(memory_->touched().empty());
  }

  std::unique_ptr<GuestMemory> memory_ = guest_of(16_MiB);
  Bytes initrd_;
  std::string command_line_;
  std::optional<Gpa> rsdp_;
};

TEST_F(PvhLoader, LoadsEachSegmentAtItsPhysicalAddress) {
  TestElf elf = small_elf(0x1801);
  elf.segments.push_back({.paddr = 0x400010, .content = pattern(100, 9), .memory_size = 0x5000});
  elf.notes = {entry_note(0x100020)};
  const auto entry = load(elf);
  ASSERT_TRUE(entry) << entry.error().message;
  EXPECT_EQ(entry->protocol, BootProtocol::kPvh);
  EXPECT_EQ(entry->entry, Gpa{0x100020});
  EXPECT_EQ(entry->parameters, kPvhStartInfo);
  EXPECT_EQ(read_guest(*memory_, Gpa{0x100000}, 0x1801), pattern(0x1801, 1));
  EXPECT_EQ(read_guest(*memory_, Gpa{0x400010}, 100), pattern(100, 9));
  EXPECT_EQ(read_guest(*memory_, Gpa{0x400010 + 100}, 0x5000 - 100), Bytes(0x5000 - 100));
}

TEST_F(PvhLoader, StartInfoTellsOfCommandLineMapAndRsdp) {
  command_line_ = "console=ttyS0 quiet";
  rsdp_ = kAcpiTables;
  ASSERT_TRUE(load(small_elf()));
  EXPECT_EQ(read_u32(*memory_, 0x6000), 0x336ec578u);
  EXPECT_EQ(read_u32(*memory_, 0x6004), 1u);  // version
  EXPECT_EQ(read_u32(*memory_, 0x6008), 0u);  // flags
  EXPECT_EQ(read_u32(*memory_, 0x600c), 0u);  // modules
  EXPECT_EQ(read_u64(*memory_, 0x6010), 0u);
  EXPECT_EQ(read_u64(*memory_, 0x6018), 0x20000u);
  EXPECT_EQ(read_u64(*memory_, 0x6020), 0xe0000u);
  EXPECT_EQ(read_u64(*memory_, 0x6028), 0x6800u);
  EXPECT_EQ(read_u32(*memory_, 0x6030), 5u);  // map entries
  EXPECT_EQ(read_u32(*memory_, 0x6034), 0u);
  const Bytes text = read_guest(*memory_, kCommandLine, command_line_.size() + 1);
  EXPECT_STREQ(reinterpret_cast<const char*>(text.data()), command_line_.c_str());
}

TEST_F(PvhLoader, MemoryMapIsOneEntryOf24BytesPerRange) {
  memory_ = guest_of(4_GiB);
  ASSERT_TRUE(load(small_elf()));
  const auto map = boot_memory_map(memory_->regions());
  ASSERT_EQ(read_u32(*memory_, 0x6030), map.size());
  ASSERT_EQ(map.size(), 6u);
  for (size_t i = 0; i < map.size(); ++i) {
    EXPECT_EQ(read_u64(*memory_, 0x6800 + i * 24), map[i].start.value);
    EXPECT_EQ(read_u64(*memory_, 0x6800 + i * 24 + 8), map[i].size.value);
    EXPECT_EQ(read_u32(*memory_, 0x6800 + i * 24 + 16), static_cast<uint32_t>(map[i].type));
    EXPECT_EQ(read_u32(*memory_, 0x6800 + i * 24 + 20), 0u);
  }
}

TEST_F(PvhLoader, InitrdIsTheHighestPagesAndModule0) {
  initrd_ = pattern(5000, 4);
  ASSERT_TRUE(load(small_elf()));
  EXPECT_EQ(read_u32(*memory_, 0x600c), 1u);
  EXPECT_EQ(read_u64(*memory_, 0x6010), 0x6040u);
  EXPECT_EQ(read_u64(*memory_, 0x6040), (16_MiB).value - 2 * kPageSize);
  EXPECT_EQ(read_u64(*memory_, 0x6048), 5000u);
  EXPECT_EQ(read_u64(*memory_, 0x6050), 0u);
  EXPECT_EQ(read_guest(*memory_, Gpa{read_u64(*memory_, 0x6040)}, 5000), initrd_);
}

TEST_F(PvhLoader, InitrdGoesBelowAKernelAtTheTop) {
  TestElf elf = small_elf();
  elf.segments.push_back({.paddr = 0xfff800, .content = pattern(0x800, 2)});
  initrd_ = pattern(0x1000, 4);
  ASSERT_TRUE(load(elf));
  EXPECT_EQ(read_u64(*memory_, 0x6040), 0xffe000u);
}

TEST_F(PvhLoader, InitrdStaysBelowTheHole) {
  memory_ = guest_of(4_GiB);
  initrd_ = pattern(0x1000, 4);
  ASSERT_TRUE(load(small_elf()));
  EXPECT_EQ(read_u64(*memory_, 0x6040), kHoleStart.value - 0x1000);
}

TEST_F(PvhLoader, FindsTheNoteAmongOthersAndWithEightBytes) {
  TestElf elf = small_elf();
  elf.notes = {{.name = std::string("GNU\0", 4), .type = 18, .descriptor = pattern(20, 1)},
               {.type = 6, .descriptor = pattern(3, 1)},
               entry_note(0x100010, 8)};
  EXPECT_EQ(load(elf).value().entry, Gpa{0x100010});
  memory_ = guest_of(16_MiB);
  elf.note_align = 8;
  EXPECT_EQ(load(elf).value().entry, Gpa{0x100010});
}

TEST_F(PvhLoader, AcceptsAPositionIndependentKernel) {
  TestElf elf = small_elf();
  elf.type = 3;
  EXPECT_TRUE(load(elf));
}

TEST_F(PvhLoader, RejectsAnElfWithoutTheNote) {
  TestElf elf = small_elf();
  elf.notes = {{.type = 6, .descriptor = pattern(4, 1)}};
  expect_error(elf, Errc::kUnsupported, "CONFIG_PVH=y");
  elf.notes.clear();
  expect_error(elf, Errc::kUnsupported, "CONFIG_PVH=y");
}

TEST_F(PvhLoader, RejectsBadNotes) {
  TestElf elf = small_elf();
  elf.notes = {entry_note(0x100000, 5)};
  expect_error(elf, Errc::kCorrupt, "5 bytes instead of 4 or 8");
  elf = small_elf();
  elf.note_size = 16;
  expect_error(elf, Errc::kCorrupt, "a note passes the end");
  elf.note_size = (64_KiB).value + 1;
  expect_error(elf, Errc::kCorrupt, "notes of 65537 bytes");
  elf.note_size = 4096;
  expect_error(elf, Errc::kCorrupt, "truncated");
}

TEST_F(PvhLoader, RejectsAnEntryOutsideTheLoadedSegments) {
  TestElf elf = small_elf(64);
  elf.segments[0].memory_size = 4096;
  for (const uint64_t entry : {0xfffffUL, 0x100040UL, 0x100fffUL, 0xffffffffffffffffUL}) {
    elf.notes = {entry_note(entry, 8)};
    expect_error(elf, Errc::kCorrupt, "is in no loaded segment");
  }
}

TEST_F(PvhLoader, RejectsAnEntryAbove4GiB) {
  memory_ = guest_of(4_GiB);
  TestElf elf = small_elf();
  elf.segments.push_back({.paddr = kHoleEnd.value, .content = pattern(64, 1)});
  elf.notes = {entry_note(kHoleEnd.value, 8)};
  expect_error(elf, Errc::kCorrupt, "below 4 GiB");
}

TEST_F(PvhLoader, RejectsObjectFilesAndOddHeaderTables) {
  TestElf elf = small_elf();
  elf.type = 1;
  expect_error(elf, Errc::kUnsupported, "not linked");
  elf = small_elf();
  elf.header_count = 0;
  expect_error(elf, Errc::kCorrupt, "0 program headers");
  elf.header_count = 129;
  expect_error(elf, Errc::kCorrupt, "129 program headers");
  elf.header_count = 0xffff;
  expect_error(elf, Errc::kCorrupt, "65535 program headers");
  elf = small_elf();
  elf.header_size = 55;
  expect_error(elf, Errc::kCorrupt, "of 55 bytes");
  elf = small_elf();
  elf.header_offset = UINT64_MAX - 8;
  expect_error(elf, Errc::kCorrupt, "truncated");
}

TEST_F(PvhLoader, RejectsSegmentsThatCannotBe) {
  TestElf elf = small_elf();
  elf.segments[0].memory_size = 63;
  expect_error(elf, Errc::kCorrupt, "0x40 bytes in the file and only 0x3f in memory");
  elf = small_elf();
  elf.segments[0].offset = UINT64_MAX - 15;
  expect_error(elf, Errc::kCorrupt, "truncated");
  elf = small_elf();
  elf.segments.push_back({.paddr = UINT64_MAX - 15, .content = pattern(64, 1)});
  expect_error(elf, Errc::kCorrupt, "end of the address space");
  elf = small_elf();
  elf.segments[0].memory_size = 0;
  elf.segments[0].file_size = 0;
  expect_error(elf, Errc::kCorrupt, "nothing to load");
}

TEST_F(PvhLoader, RejectsOverlappingSegments) {
  TestElf elf = small_elf(64);
  elf.segments.push_back({.paddr = 0x10003f, .content = pattern(64, 1)});
  expect_error(elf, Errc::kCorrupt, "overlap");
  elf.segments[1].paddr = 0x100000;
  expect_error(elf, Errc::kCorrupt, "overlap");
  elf.segments[1].paddr = 0xffff0;
  elf.segments[1].memory_size = 0x20000;
  expect_error(elf, Errc::kCorrupt, "overlap");
}

TEST_F(PvhLoader, RejectsSegmentsOnTheBootStructuresAndTheFirmwareArea) {
  TestElf elf = small_elf();
  for (const uint64_t paddr : {0x0UL, 0x6000UL, 0x2fff8UL, 0x9fbf0UL, 0xe0000UL, 0xfff00UL}) {
    elf.segments.resize(1);
    elf.segments.push_back({.paddr = paddr, .content = pattern(16, 1), .memory_size = 17});
    expect_error(elf, Errc::kInvalidArgument, "link it at 1 MiB or above");
  }
  elf.segments[1].paddr = 0x30000;
  EXPECT_TRUE(load(elf));
}

TEST_F(PvhLoader, RejectsAKernelLargerThanMemory) {
  TestElf elf = small_elf();
  elf.segments[0].memory_size = (16_MiB).value;
  expect_error(elf, Errc::kInvalidArgument, "does not fit in 16 MiB of guest memory");
  elf.segments[0].paddr = (16_MiB).value;
  elf.notes = {entry_note((16_MiB).value)};
  expect_error(elf, Errc::kInvalidArgument, "does not fit in 16 MiB of guest memory");
  elf.segments[0].memory_size = uint64_t{1} << 62;
  expect_error(elf, Errc::kInvalidArgument, "does not fit in 16 MiB of guest memory");
}

TEST_F(PvhLoader, RejectsAnInitrdThatDoesNotFit) {
  initrd_ = Bytes((15_MiB).value);
  expect_error(small_elf(), Errc::kInvalidArgument, "the initrd /i of 15 MiB does not fit");
  initrd_.resize((15_MiB).value - kPageSize);
  EXPECT_TRUE(load(small_elf()));
}

TEST_F(PvhLoader, RejectsACommandLineThatIsTooLongOrHoldsNul) {
  command_line_ = std::string(kPvhCommandLineLimit + 1, 'x');
  expect_error(small_elf(), Errc::kInvalidArgument,
               "of 2048 bytes is longer than the 2047 allowed");
  command_line_ = std::string("a\0b", 3);
  expect_error(small_elf(), Errc::kInvalidArgument, "NUL byte at position 1");
  command_line_ = std::string(kPvhCommandLineLimit, 'x');
  EXPECT_TRUE(load(small_elf()));
}

TEST_F(PvhLoader, RejectsEveryTruncation) {
  initrd_ = pattern(64, 5);
  const Bytes whole = small_elf(64).build();
  ASSERT_TRUE(load_bytes(whole));
  for (size_t size = 0; size < whole.size(); ++size) {
    memory_ = guest_of(16_MiB);
    EXPECT_FALSE(load_bytes(Bytes(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(size))))
        << size;
    EXPECT_TRUE(memory_->touched().empty()) << size;
  }
}

TEST_F(PvhLoader, SurvivesEveryFlippedByte) {
  const Bytes whole = small_elf(64).build();
  for (size_t i = 0; i < whole.size(); ++i) {
    for (const unsigned flip : {0x01u, 0x10u, 0x80u, 0xffu}) {
      Bytes bytes = whole;
      bytes[i] ^= static_cast<std::byte>(flip);
      memory_ = guest_of(16_MiB);
      const auto entry = load_bytes(bytes);
      EXPECT_TRUE(!entry || memory_->at(entry->entry, ByteCount{1})) << i;
    }
  }
}

}  // namespace
}  // namespace godwit::vmm
