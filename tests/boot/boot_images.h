// Small kernels, built byte by byte, with every field open to be made wrong.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "vmm/base/byte_io.h"
#include "vmm/memory/guest_memory.h"

namespace godwit::vmm::test {

using Bytes = std::vector<std::byte>;

// `size` bytes that differ from place to place and by `seed`.
Bytes pattern(size_t size, uint8_t seed);

struct TestSegment {
  uint64_t paddr = 0x100000;
  Bytes content;
  std::optional<uint64_t> file_size;    // default: the content's
  std::optional<uint64_t> memory_size;  // default: the content's
  std::optional<uint64_t> offset;       // default: where the content is
};

struct TestNote {
  std::string name = std::string("Xen\0", 4);
  uint32_t type = 18;
  Bytes descriptor;
};
TestNote entry_note(uint64_t entry, size_t bytes = 4);

struct TestElf {
  uint8_t elf_class = 2;
  uint8_t data = 1;
  uint16_t type = 2;
  uint16_t machine = 62;
  uint16_t header_size = 56;
  std::optional<uint16_t> header_count;
  std::optional<uint64_t> header_offset;
  std::vector<TestSegment> segments;
  std::vector<TestNote> notes;
  uint64_t note_align = 4;
  std::optional<uint64_t> note_size;  // of the PT_NOTE in the file

  [[nodiscard]] Bytes build() const;
};
// One segment of `size` bytes at 1 MiB, entered at its start.
TestElf small_elf(size_t size = 64);

struct TestBzImage {
  uint8_t setup_sectors = 1;
  uint16_t version = 0x020f;
  uint8_t jump = 0x6a;  // the header ends at 0x26c
  uint8_t load_flags = 1;
  uint16_t xload_flags = 1;
  uint32_t initrd_address_max = 0x7fffffff;
  uint32_t alignment = 0x200000;
  uint8_t relocatable = 1;
  uint32_t command_line_size = 255;
  uint64_t preferred_address = 0x200000;
  uint32_t init_size = 0x100000;
  std::optional<uint32_t> syssize;
  Bytes payload = pattern(0x400, 7);

  [[nodiscard]] Bytes build() const;
};

std::unique_ptr<GuestMemory> guest_of(ByteCount size);
Bytes read_guest(const GuestMemory& memory, Gpa gpa, size_t size);
uint64_t read_u64(const GuestMemory& memory, uint64_t gpa);
uint32_t read_u32(const GuestMemory& memory, uint64_t gpa);

}  // namespace godwit::vmm::test
