// The embedded guest is what a PVH loader takes.
#include <elf.h>

#include <cstring>
#include <optional>
#include <string_view>

#include "bench/workload/workload.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace godwit::bench {
namespace {

constexpr uint32_t kPhys32Entry = 18;  // XEN_ELFNOTE_PHYS32_ENTRY

template <class T>
T read_at(size_t offset) {
  T value{};
  const auto elf = workload_elf();
  EXPECT_LE(offset + sizeof(T), elf.size());
  if (offset + sizeof(T) <= elf.size()) std::memcpy(&value, elf.data() + offset, sizeof(T));
  return value;
}

std::optional<Elf64_Phdr> segment(uint32_t type) {
  const auto header = read_at<Elf64_Ehdr>(0);
  for (unsigned i = 0; i < header.e_phnum; ++i) {
    const auto phdr = read_at<Elf64_Phdr>(header.e_phoff + i * header.e_phentsize);
    if (phdr.p_type == type) return phdr;
  }
  return std::nullopt;
}

TEST(WorkloadElf, IsAnElf64ForX86) {
  const auto header = read_at<Elf64_Ehdr>(0);
  EXPECT_EQ(std::string_view(reinterpret_cast<const char*>(header.e_ident), SELFMAG), ELFMAG);
  EXPECT_EQ(header.e_ident[EI_CLASS], ELFCLASS64);
  EXPECT_EQ(header.e_type, ET_EXEC);
  EXPECT_EQ(header.e_machine, EM_X86_64);
}

TEST(WorkloadElf, LoadsOneSegmentAtOneMebibyteAndLeavesRoomInSixteen) {
  const auto load = segment(PT_LOAD);
  ASSERT_TRUE(load);
  EXPECT_EQ(load->p_paddr, 0x100000U);
  EXPECT_LE(load->p_offset + load->p_filesz, workload_elf().size());
  EXPECT_LT(load->p_memsz, 2U << 20);
}

TEST(WorkloadElf, NoteNamesAnEntryInsideTheSegment) {
  const auto note = segment(PT_NOTE);
  const auto load = segment(PT_LOAD);
  ASSERT_TRUE(note && load);
  const auto header = read_at<Elf64_Nhdr>(note->p_offset);
  EXPECT_EQ(header.n_type, kPhys32Entry);
  ASSERT_EQ(header.n_namesz, 4U);
  ASSERT_EQ(header.n_descsz, 4U);
  EXPECT_EQ(read_at<uint32_t>(note->p_offset + sizeof(header)), 0x006e6558U);  // "Xen"
  const auto entry = read_at<uint32_t>(note->p_offset + sizeof(header) + 4);
  EXPECT_GE(entry, load->p_paddr);
  EXPECT_LT(entry, load->p_paddr + load->p_filesz);
}

}  // namespace
}  // namespace godwit::bench
