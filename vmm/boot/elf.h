// What the PVH loader needs of an ELF file. Source: System V ABI, ELF-64 object file format
// (headers and notes); Xen's public/elfnote.h (the note).
#pragma once
#include <cstdint>
#include <vector>

#include "vmm/base/error.h"
#include "vmm/base/types.h"
#include "vmm/boot/image.h"

namespace godwit::vmm {

inline constexpr uint32_t kMaxElfSegments = 128;        // Linux has 5
inline constexpr ByteCount kMaxElfNotes = 64_KiB;       // of one PT_NOTE; Linux has 500 bytes
inline constexpr uint32_t kXenElfNotePhys32Entry = 18;  // XEN_ELFNOTE_PHYS32_ENTRY

// A PT_LOAD: file_size bytes from file_offset to `start`, zeroes after them up to memory_size.
struct ElfSegment {
  uint32_t number = 0;  // of the program header, for messages
  Gpa start;            // p_paddr
  uint64_t memory_size = 0;
  uint64_t file_offset = 0;
  uint64_t file_size = 0;  // at most memory_size, and inside the file
};

struct PvhElf {
  std::vector<ElfSegment> segments;  // in order of address, without overlap, none empty
  Gpa entry;                         // below 4 GiB, in the file's part of a segment
};

// `kernel` was identified as a 64-bit little-endian x86-64 ELF. Whether the segments lie in RAM is
// for the caller to check. Errors: kUnsupported (no PVH note, not linked), kCorrupt.
Result<PvhElf> parse_pvh_elf(const Image& kernel);

}  // namespace godwit::vmm
