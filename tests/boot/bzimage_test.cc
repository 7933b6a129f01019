#include "vmm/boot/bzimage.h"

#include <gtest/gtest.h>

#include "tests/boot/boot_images.h"
#include "vmm/boot/boot_layout.h"
#include "vmm/boot/kernel.h"
#include "vmm/boot/memory_map.h"

namespace godwit::vmm {
namespace {

using namespace test;  // NOLINT(google-build-using-namespace)

class BzImageLoader : public testing::Test {
 protected:
  Result<BootEntry> load(const TestBzImage& image) { return load_bytes(image.build()); }
  Result<BootEntry> load_bytes(const Bytes& bytes) {
    const Image kernel = Image::of(bytes, "/k");
    const Image initrd = Image::of(initrd_, "/i");
    return load_kernel(*memory_, {.kernel = kernel,
                                  .initrd = initrd_.empty() ? nullptr : &initrd,
                                  .command_line = command_line_,
                                  .acpi_rsdp = rsdp_});
  }
  void expect_error(const TestBzImage& image, Errc code, std::string_view text) {
    const auto result = load(image);
    ASSERT_FALSE(result.has_value()) << "expected: " << text;
    EXPECT_EQ(result.error().code, code) << result.error().message;
    EXPECT_NE(result.error().message.find(text), std::string::npos) << result.error().message;
    EXPECT_TRUE(memory_->touched().empty());
  }
  uint64_t initrd_start() {
    return read_u32(*memory_, 0x7218) | uint64_t{read_u32(*memory_, 0x70c0)} << 32;
  }

  std::unique_ptr<GuestMemory> memory_ = guest_of(16_MiB);
  Bytes initrd_;
  std::string command_line_;
  std::optional<Gpa> rsdp_;
};

TEST_F(BzImageLoader, LoadsTheProtectedModePartAtItsPreferredAddress) {
  for (const uint8_t sectors : {uint8_t{0}, uint8_t{1}, uint8_t{39}}) {
    memory_ = guest_of(16_MiB);
    const TestBzImage image{.setup_sectors = sectors};
    const auto entry = load(image);
    ASSERT_TRUE(entry) << entry.error().message;
    EXPECT_EQ(entry->protocol, BootProtocol::kLinux64);
    EXPECT_EQ(entry->entry, Gpa{0x200200});
    EXPECT_EQ(entry->parameters, kZeroPage);
    EXPECT_EQ(read_guest(*memory_, Gpa{0x200000}, image.payload.size()), image.payload);
  }
}

TEST_F(BzImageLoader, AlignsARelocatableKernelUpwardsFrom1MiB) {
  EXPECT_EQ(load({.preferred_address = 0}).value().entry, Gpa{0x200200});
  EXPECT_EQ(load({.alignment = 0x1000, .preferred_address = 0}).value().entry, Gpa{0x100200});
  EXPECT_EQ(load({.preferred_address = 0x200001}).value().entry, Gpa{0x400200});
  // A fixed one goes where it must, whatever its alignment says.
  EXPECT_EQ(load({.alignment = 0, .relocatable = 0, .preferred_address = 0x100000}).value().entry,
            Gpa{0x100200});
}

TEST_F(BzImageLoader, BootParamsHoldTheSetupHeaderAndTheLoadersFields) {
  command_line_ = "console=ttyS0";
  const TestBzImage image;
  const Bytes file = image.build();
  ASSERT_TRUE(load_bytes(file));
  const Bytes page = read_guest(*memory_, kZeroPage, kPageSize);
  EXPECT_TRUE(std::all_of(page.begin(), page.begin() + 0x1e8,
                          [](std::byte b) { return b == std::byte{0}; }));
  EXPECT_EQ(page[0x1ef], std::byte{0});  // sentinel
  EXPECT_TRUE(std::equal(page.begin() + 0x1f1, page.begin() + 0x210, file.begin() + 0x1f1));
  EXPECT_TRUE(std::equal(page.begin() + 0x22c, page.begin() + 0x250, file.begin() + 0x22c));
  EXPECT_EQ(page[0x210], std::byte{0xff});           // type_of_loader
  EXPECT_EQ(page[0x211], std::byte{1});              // loadflags
  EXPECT_EQ(read_u32(*memory_, 0x7214), 0x200000u);  // code32_start
  EXPECT_EQ(read_u32(*memory_, 0x7228), 0x20000u);   // cmd_line_ptr
  EXPECT_EQ(read_u32(*memory_, 0x70c8), 0u);         // ext_cmd_line_ptr
  EXPECT_EQ(read_u64(*memory_, 0x7250), 0u);         // setup_data
  EXPECT_EQ(read_u64(*memory_, 0x7258), 0x200000u);  // pref_address
  EXPECT_EQ(read_u64(*memory_, 0x7070), 0u);         // acpi_rsdp_addr
  EXPECT_EQ(initrd_start(), 0u);
  // Nothing past the header's end.
  EXPECT_TRUE(std::all_of(page.begin() + 0x26c, page.begin() + 0x2d0,
                          [](std::byte b) { return b == std::byte{0}; }));
  const Bytes text = read_guest(*memory_, kCommandLine, command_line_.size() + 1);
  EXPECT_STREQ(reinterpret_cast<const char*>(text.data()), command_line_.c_str());
}

TEST_F(BzImageLoader, ALongHeaderIsCutWhereBootParamsGoOn) {
  ASSERT_TRUE(load({.jump = 0xff}));
  const Bytes page = read_guest(*memory_, Gpa{0x7290}, 0x40);
  EXPECT_EQ(page, Bytes(0x40));
}

TEST_F(BzImageLoader, TellsOfTheRsdp) {
  rsdp_ = kAcpiTables;
  ASSERT_TRUE(load(TestBzImage()));
  EXPECT_EQ(read_u64(*memory_, 0x7070), 0xe0000u);
}

TEST_F(BzImageLoader, E820TableHoldsTheMemoryMap) {
  memory_ = guest_of(4_GiB);
  ASSERT_TRUE(load(TestBzImage()));
  const auto map = boot_memory_map(memory_->regions());
  EXPECT_EQ(read_u32(*memory_, 0x71e8) & 0xff, map.size());
  for (size_t i = 0; i < map.size(); ++i) {
    EXPECT_EQ(read_u64(*memory_, 0x72d0 + i * 20), map[i].start.value);
    EXPECT_EQ(read_u64(*memory_, 0x72d0 + i * 20 + 8), map[i].size.value);
    EXPECT_EQ(read_u32(*memory_, 0x72d0 + i * 20 + 16), static_cast<uint32_t>(map[i].type));
  }
}

TEST_F(BzImageLoader, InitrdEndsBelowItsAddressMax) {
  initrd_ = pattern(5000, 4);
  ASSERT_TRUE(load(TestBzImage()));
  EXPECT_EQ(initrd_start(), (16_MiB).value - 2 * kPageSize);
  EXPECT_EQ(read_u32(*memory_, 0x721c), 5000u);
  EXPECT_EQ(read_guest(*memory_, Gpa{initrd_start()}, 5000), initrd_);
  ASSERT_TRUE(load({.initrd_address_max = 0x7fffff}));
  EXPECT_EQ(initrd_start(), 0x800000 - 2 * kPageSize);
}

TEST_F(BzImageLoader, InitrdKeepsClearOfWhatTheKernelNeeds) {
  initrd_ = pattern(0x1000, 4);
  ASSERT_TRUE(load({.init_size = 0xe00000}));
  EXPECT_EQ(initrd_start(), 0x1ff000u);
}

TEST_F(BzImageLoader, InitrdGoesHigherWhenTheKernelAllowsAndLowerIsFull) {
  memory_ = guest_of(5_GiB);
  initrd_ = pattern(0x1000, 4);
  TestBzImage image{.xload_flags = 3, .initrd_address_max = 0x1fffff};
  image.preferred_address = 0x100000;
  image.alignment = 0x1000;
  ASSERT_TRUE(load(image));
  EXPECT_EQ(initrd_start(), kHoleStart.value - 0x1000);
  image.init_size = static_cast<uint32_t>(kHoleStart.value - 0x100000);
  ASSERT_TRUE(load(image));
  EXPECT_EQ(initrd_start(), (6_GiB).value - 0x1000);
  EXPECT_EQ(read_u32(*memory_, 0x70c0), 1u);
  image.xload_flags = 1;
  memory_ = guest_of(5_GiB);
  expect_error(image, Errc::kInvalidArgument, "the initrd /i of 1 MiB does not fit below 0x200000");
}

TEST_F(BzImageLoader, RejectsWhatHasNo64BitEntry) {
  expect_error({.version = 0x020b}, Errc::kUnsupported, "boot protocol 2.11, and 2.12 is needed");
  expect_error({.load_flags = 0}, Errc::kUnsupported, "is a zImage");
  expect_error({.xload_flags = 2}, Errc::kUnsupported, "no 64-bit entry point");
}

TEST_F(BzImageLoader, RejectsDamagedHeaders) {
  expect_error({.jump = 0x61}, Errc::kCorrupt, "setup header ends at 0x263");
  expect_error({.alignment = 0}, Errc::kCorrupt, "aligned to 0x0");
  expect_error({.alignment = 0x3000}, Errc::kCorrupt, "aligned to 0x3000");
  expect_error({.alignment = 0x80000000}, Errc::kCorrupt, "aligned to 0x80000000");
  expect_error({.syssize = 0x41}, Errc::kCorrupt, "0x400 bytes follow its setup code and 0x410");
  expect_error({.syssize = 0xffffffff}, Errc::kCorrupt, "truncated");
  expect_error({.syssize = 0, .payload = pattern(0x200, 1)}, Errc::kCorrupt, "truncated");
}

TEST_F(BzImageLoader, RejectsPlacesThatCannotBe) {
  expect_error({.preferred_address = UINT64_MAX - 4096}, Errc::kCorrupt, "prefers address");
  expect_error({.relocatable = 0, .preferred_address = UINT64_MAX - 4096}, Errc::kCorrupt,
               "impossible place");
  expect_error({.relocatable = 0, .preferred_address = 0x7000}, Errc::kInvalidArgument,
               "link it at 1 MiB");
  expect_error({.preferred_address = 0x1000000}, Errc::kInvalidArgument, "does not fit in 16 MiB");
  expect_error({.init_size = 0xffffffff}, Errc::kInvalidArgument,
               "needs 0x200000 to 0x1001fffff (4096 MiB)");
  memory_ = guest_of(5_GiB);
  expect_error({.preferred_address = kHoleEnd.value}, Errc::kCorrupt, "above the hole");
}

TEST_F(BzImageLoader, RejectsACommandLineLongerThanTheKernelTakes) {
  command_line_ = std::string(256, 'x');
  expect_error(TestBzImage(), Errc::kInvalidArgument,
               "of 256 bytes is longer than the 255 allowed");
  command_line_.pop_back();
  EXPECT_TRUE(load(TestBzImage()));
  memory_ = guest_of(16_MiB);
  command_line_ = std::string(0x10000, 'x');
  expect_error({.command_line_size = UINT32_MAX}, Errc::kInvalidArgument,
               "longer than the 65535 allowed");
}

TEST_F(BzImageLoader, RejectsEveryTruncation) {
  const Bytes whole = TestBzImage().build();
  ASSERT_TRUE(load_bytes(whole));
  for (size_t size = 0; size < whole.size(); ++size) {
    memory_ = guest_of(16_MiB);
    EXPECT_FALSE(load_bytes(Bytes(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(size))))
        << size;
    EXPECT_TRUE(memory_->touched().empty()) << size;
  }
}

TEST_F(BzImageLoader, SurvivesEveryFlippedByte) {
  initrd_ = pattern(64, 5);
  const Bytes whole = TestBzImage().build();
  for (size_t i = 0x1f1; i < 0x270; ++i) {
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
