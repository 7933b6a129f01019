#include "vmm/boot/elf.h"

#include <algorithm>
#include <optional>

#include "vmm/base/byte_io.h"

namespace godwit::vmm {
namespace {

constexpr uint64_t kElfHeaderSize = 64;
constexpr uint16_t kProgramHeaderSize = 56;
constexpr uint16_t kTypeExecutable = 2;
constexpr uint16_t kTypeShared = 3;  // a position-independent kernel
constexpr uint32_t kSegmentLoad = 1;
constexpr uint32_t kSegmentNote = 4;

struct ProgramHeader {
  uint32_t type = 0;
  uint64_t offset = 0;
  uint64_t paddr = 0;
  uint64_t file_size = 0;
  uint64_t memory_size = 0;
  uint64_t align = 0;
};

template <class... Args>
Error corrupt(const Image& kernel, fmt::format_string<Args...> format, Args&&... args) {
  return make_error(Errc::kCorrupt, "the ELF {} is damaged: {}", kernel.name(),
                    fmt::vformat(format, fmt::make_format_args(args...)));
}

Result<std::vector<ProgramHeader>> read_program_headers(const Image& kernel) {
  GODWIT_ASSIGN(const auto header, kernel.read(0, kElfHeaderSize));
  ByteReader in(header, "ELF header");
  in.bytes(16);  // e_ident: identified before
  const uint16_t type = in.u16();
  in.bytes(2 + 4 + 8);  // e_machine, e_version, e_entry (not where PVH enters)
  const uint64_t table = in.u64();
  in.bytes(8 + 4 + 2);  // e_shoff, e_flags, e_ehsize
  const uint16_t entry_size = in.u16();
  const uint16_t count = in.u16();
  if (type != kTypeExecutable && type != kTypeShared) {
    return make_error(Errc::kUnsupported,
                      "the ELF {} is not linked (type {}, an object file or a core dump): give a "
                      "linked kernel",
                      kernel.name(), type);
  }
  if (count == 0 || count > kMaxElfSegments || entry_size != kProgramHeaderSize) {
    return corrupt(kernel, "{} program headers of {} bytes (expected 1 to {} of {})", count,
                   entry_size, kMaxElfSegments, kProgramHeaderSize);
  }
  GODWIT_ASSIGN(const auto bytes, kernel.read(table, uint64_t{count} * kProgramHeaderSize));
  ByteReader reader(bytes, "ELF program headers");
  std::vector<ProgramHeader> headers(count);
  for (ProgramHeader& h : headers) {
    h.type = reader.u32();
    reader.u32();  // p_flags
    h.offset = reader.u64();
    reader.u64();  // p_vaddr
    h.paddr = reader.u64();
    h.file_size = reader.u64();
    h.memory_size = reader.u64();
    h.align = reader.u64();
  }
  return headers;
}

Result<std::optional<ElfSegment>> segment_of(const Image& kernel, const ProgramHeader& header,
                                             uint32_t number) {
  if (header.file_size > header.memory_size) {
    return corrupt(kernel, "segment {} has {:#x} bytes in the file and only {:#x} in memory",
                   number, header.file_size, header.memory_size);
  }
  if (header.memory_size == 0) return std::optional<ElfSegment>();
  if (header.file_size != 0 &&
      (header.offset > kernel.size() || header.file_size > kernel.size() - header.offset)) {
    return corrupt(kernel, "segment {} is at {:#x}+{:#x} of a file of {:#x} bytes: truncated?",
                   number, header.offset, header.file_size, kernel.size());
  }
  if (header.paddr + header.memory_size < header.paddr) {
    return corrupt(kernel, "segment {} at {:#x}+{:#x} passes the end of the address space", number,
                   header.paddr, header.memory_size);
  }
  return std::optional(
      ElfSegment{number, Gpa{header.paddr}, header.memory_size, header.offset, header.file_size});
}

Result<std::vector<ElfSegment>> load_segments(const Image& kernel,
                                              const std::vector<ProgramHeader>& headers) {
  std::vector<ElfSegment> segments;
  for (uint32_t i = 0; i < headers.size(); ++i) {
    if (headers[i].type != kSegmentLoad) continue;
    GODWIT_ASSIGN(const auto segment, segment_of(kernel, headers[i], i));
    if (segment) segments.push_back(*segment);
  }
  if (segments.empty()) return corrupt(kernel, "it has nothing to load");
  std::sort(segments.begin(), segments.end(),
            [](const ElfSegment& a, const ElfSegment& b) { return a.start < b.start; });
  for (size_t i = 1; i < segments.size(); ++i) {
    const ElfSegment& below = segments[i - 1];
    if (segments[i].start.value - below.start.value < below.memory_size) {
      return corrupt(kernel, "segments {} ({:#x}+{:#x}) and {} ({:#x}+{:#x}) overlap", below.number,
                     below.start.value, below.memory_size, segments[i].number,
                     segments[i].start.value, segments[i].memory_size);
    }
  }
  return segments;
}

// The note's descriptor in the notes of one PT_NOTE, when it is there.
Result<std::optional<uint64_t>> find_entry_note(const Image& kernel, const ProgramHeader& header) {
  if (header.file_size > kMaxElfNotes.value) {
    return corrupt(kernel, "notes of {} bytes (at most {})", header.file_size, kMaxElfNotes.value);
  }
  GODWIT_ASSIGN(const auto bytes, kernel.read(header.offset, header.file_size));
  const uint64_t align = header.align == 8 ? 8 : 4;
  const auto padding = [&](size_t position) { return (align - position % align) % align; };
  constexpr size_t kNoteHeader = 12;
  ByteReader in(bytes, "ELF notes");
  while (in.ok() && in.remaining() >= kNoteHeader) {
    const uint32_t name_size = in.u32();
    const uint32_t descriptor_size = in.u32();
    const uint32_t type = in.u32();
    const auto name = in.bytes(name_size);
    in.bytes(std::min<size_t>(padding(in.position()), in.remaining()));
    const auto descriptor = in.bytes(descriptor_size);
    in.bytes(std::min<size_t>(padding(in.position()), in.remaining()));
    constexpr std::string_view kXen("Xen\0", 4);
    if (!in.ok() || type != kXenElfNotePhys32Entry ||
        !std::ranges::equal(name, std::as_bytes(std::span(kXen)))) {
      continue;
    }
    ByteReader value(descriptor, "PVH entry note");
    if (descriptor.size() == 4) return std::optional<uint64_t>(value.u32());
    if (descriptor.size() == 8) return std::optional<uint64_t>(value.u64());
    return corrupt(kernel, "its PVH entry note has {} bytes instead of 4 or 8", descriptor.size());
  }
  if (!in.ok()) return corrupt(kernel, "a note passes the end of its segment");
  return std::optional<uint64_t>();
}

Result<uint64_t> find_entry(const Image& kernel, const std::vector<ProgramHeader>& headers) {
  for (const ProgramHeader& header : headers) {
    if (header.type != kSegmentNote) continue;
    GODWIT_ASSIGN(const auto entry, find_entry_note(kernel, header));
    if (entry) return *entry;
  }
  return make_error(Errc::kUnsupported,
                    "the ELF {} has no PVH entry note (XEN_ELFNOTE_PHYS32_ENTRY): build the kernel "
                    "with CONFIG_PVH=y, or give its bzImage",
                    kernel.name());
}

}  // namespace

Result<PvhElf> parse_pvh_elf(const Image& kernel) {
  GODWIT_ASSIGN(const auto headers, read_program_headers(kernel));
  GODWIT_ASSIGN(const uint64_t entry, find_entry(kernel, headers));
  PvhElf elf;
  GODWIT_ASSIGN(elf.segments, load_segments(kernel, headers));
  elf.entry = Gpa{entry};
  const bool loaded =
      std::any_of(elf.segments.begin(), elf.segments.end(), [&](const ElfSegment& s) {
        return elf.entry >= s.start && entry - s.start.value < s.file_size;
      });
  if (!loaded || entry > UINT32_MAX) {
    return corrupt(kernel, "its PVH entry {:#x} is in no loaded segment below 4 GiB", entry);
  }
  return elf;
}

}  // namespace godwit::vmm
