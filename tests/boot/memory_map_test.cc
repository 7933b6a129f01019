#include "vmm/boot/memory_map.h"

#include <gtest/gtest.h>

#include "vmm/boot/boot_layout.h"

namespace godwit::vmm {
namespace {

uint64_t ram_of(const std::vector<MapEntry>& map) {
  uint64_t bytes = 0;
  for (const MapEntry& entry : map) {
    if (entry.type == MapType::kRam) bytes += entry.size.value;
  }
  return bytes;
}

TEST(BootMemoryMap, CoversAllRamButTheFirmwareAreaInOrder) {
  for (const ByteCount size :
       {16_MiB, 1_GiB, 3_GiB, ByteCount{(3_GiB).value + (2_MiB).value}, 64_GiB}) {
    const auto map = boot_memory_map(memory_regions_for(size));
    EXPECT_EQ(ram_of(map), size.value - (kHighMemoryStart.value - kLowMemoryEnd.value));
    for (size_t i = 1; i < map.size(); ++i) {
      EXPECT_LE(map[i - 1].start.value + map[i - 1].size.value, map[i].start.value);
    }
  }
}

TEST(BootMemoryMap, ReservesEbdaBiosEcamAndPlatform) {
  const auto map = boot_memory_map(memory_regions_for(16_MiB));
  ASSERT_EQ(map.size(), 5u);
  EXPECT_EQ(map[0].size.value, 0x9fc00u);
  EXPECT_EQ(map[1].start, Gpa{0x9fc00});
  EXPECT_EQ(map[1].type, MapType::kReserved);
  EXPECT_EQ(map[2].start, Gpa{0x100000});
  EXPECT_EQ(map[3].start, Gpa{0xe0000000});
  EXPECT_EQ(map[3].size.value, 0x100000u);
  EXPECT_EQ(map[3].type, MapType::kReserved);
  EXPECT_EQ(map[4].start, Gpa{0xfec00000});
  EXPECT_EQ(map[4].size.value, 0x1400000u);
  EXPECT_EQ(map[4].type, MapType::kReserved);
}

TEST(BootLayout, StructuresKeepClearOfOneAnother) {
  const std::pair<Gpa, Gpa> places[] = {
      {kBootGdt, kBootGdt + kBootGdtSize.value},
      {kPvhStartInfo, kPvhModuleList},
      {kPvhModuleList, kPvhMemoryMap},
      {kPvhMemoryMap, kZeroPage},
      {kZeroPage, kZeroPage + kPageSize},
      {kBootPml4, kBootPml4 + kPageSize},
      {kBootPdpt, kBootPdpt + kPageSize},
      {kBootPageDirectories, kBootPageDirectories + kBootPageDirectoryCount * kPageSize},
      {kCommandLine, kCommandLine + kCommandLineSpace.value},
      {kBootStructuresEnd, kLowMemoryEnd},
      {kAcpiTables, kAcpiTables + kAcpiTablesSpace.value},
      {kHighMemoryStart, kHoleStart},
  };
  for (size_t i = 1; i < std::size(places); ++i) {
    EXPECT_LT(places[i].first, places[i].second);
    EXPECT_LE(places[i - 1].second, places[i].first) << i;
  }
}

}  // namespace
}  // namespace godwit::vmm
