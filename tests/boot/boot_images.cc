#include "tests/boot/boot_images.h"

#include <algorithm>
#include <memory>

namespace godwit::vmm::test {
namespace {

constexpr size_t kElfHeader = 64;
constexpr size_t kProgramHeader = 56;

void pad(ByteWriter& out, uint64_t align) {
  while (out.size() % align != 0) out.u8(0);
}

Bytes build_notes(const std::vector<TestNote>& notes, uint64_t align) {
  ByteWriter out;
  for (const TestNote& note : notes) {
    out.u32(static_cast<uint32_t>(note.name.size()));
    out.u32(static_cast<uint32_t>(note.descriptor.size()));
    out.u32(note.type);
    out.bytes(std::as_bytes(std::span(note.name)));
    pad(out, align);
    out.bytes(note.descriptor);
    pad(out, align);
  }
  return out.take();
}

void program_header(ByteWriter& out, uint32_t type, uint64_t offset, uint64_t paddr,
                    uint64_t file_size, uint64_t memory_size, uint64_t align) {
  out.u32(type);
  out.u32(5);
  out.u64(offset);
  out.u64(paddr);
  out.u64(paddr);
  out.u64(file_size);
  out.u64(memory_size);
  out.u64(align);
}

template <class T>
void put(Bytes& bytes, size_t offset, T value) {
  for (size_t i = 0; i < sizeof(T); ++i) {
    bytes.at(offset + i) = static_cast<std::byte>(static_cast<uint64_t>(value) >> (8 * i));
  }
}

}  // namespace

Bytes pattern(size_t size, uint8_t seed) {
  Bytes bytes(size);
  uint32_t state = seed * 2654435761U + 1;
  for (std::byte& b : bytes) {
    state = state * 1664525U + 1013904223U;
    b = static_cast<std::byte>(state >> 24);
  }
  return bytes;
}

TestNote entry_note(uint64_t entry, size_t bytes) {
  TestNote note;
  for (size_t i = 0; i < bytes; ++i) {
    note.descriptor.push_back(i < 8 ? static_cast<std::byte>(entry >> (8 * i)) : std::byte{0});
  }
  return note;
}

Bytes TestElf::build() const {
  const Bytes note_bytes = build_notes(notes, note_align);
  const size_t count = segments.size() + (notes.empty() ? 0 : 1);
  const size_t notes_at = (kElfHeader + count * kProgramHeader + 7) & ~size_t{7};
  ByteWriter out;
  for (const unsigned b : {0x7fU, unsigned{'E'}, unsigned{'L'}, unsigned{'F'}}) {
    out.u8(static_cast<uint8_t>(b));
  }
  out.u8(elf_class);
  out.u8(data);
  out.u8(1);
  for (int i = 0; i < 9; ++i) out.u8(0);
  out.u16(type);
  out.u16(machine);
  out.u32(1);
  out.u64(0);
  out.u64(header_offset.value_or(kElfHeader));
  out.u64(0);
  out.u32(0);
  out.u16(kElfHeader);
  out.u16(header_size);
  out.u16(header_count.value_or(static_cast<uint16_t>(count)));
  for (int i = 0; i < 3; ++i) out.u16(0);
  if (!notes.empty()) {
    const uint64_t size = note_size.value_or(note_bytes.size());
    program_header(out, 4, notes_at, 0, size, size, note_align);
  }
  size_t content_at = notes_at + note_bytes.size();
  for (const TestSegment& s : segments) {
    program_header(out, 1, s.offset.value_or(content_at), s.paddr,
                   s.file_size.value_or(s.content.size()), s.memory_size.value_or(s.content.size()),
                   0x1000);
    content_at += s.content.size();
  }
  pad(out, 8);
  out.bytes(note_bytes);
  for (const TestSegment& s : segments) out.bytes(s.content);
  return out.take();
}

TestElf small_elf(size_t size) {
  TestElf elf;
  elf.segments.push_back({.paddr = 0x100000, .content = pattern(size, 1)});
  elf.notes.push_back(entry_note(0x100000));
  return elf;
}

Bytes TestBzImage::build() const {
  const size_t start = (setup_sectors == 0 ? 5U : setup_sectors + 1U) * 512U;
  Bytes bytes = pattern(start, 3);
  put<uint8_t>(bytes, 0x1f1, setup_sectors);
  put<uint32_t>(bytes, 0x1f4, syssize.value_or(static_cast<uint32_t>(payload.size() / 16)));
  put<uint16_t>(bytes, 0x1fe, 0xaa55);
  put<uint8_t>(bytes, 0x201, jump);
  put<uint32_t>(bytes, 0x202, 0x53726448);  // "HdrS"
  put<uint16_t>(bytes, 0x206, version);
  put<uint8_t>(bytes, 0x211, load_flags);
  put<uint32_t>(bytes, 0x22c, initrd_address_max);
  put<uint32_t>(bytes, 0x230, alignment);
  put<uint8_t>(bytes, 0x234, relocatable);
  put<uint16_t>(bytes, 0x236, xload_flags);
  put<uint32_t>(bytes, 0x238, command_line_size);
  put<uint64_t>(bytes, 0x258, preferred_address);
  put<uint32_t>(bytes, 0x260, init_size);
  bytes.insert(bytes.end(), payload.begin(), payload.end());
  return bytes;
}

std::unique_ptr<GuestMemory> guest_of(ByteCount size) {
  return GuestMemory::create({.size = size}).value();
}

Bytes read_guest(const GuestMemory& memory, Gpa gpa, size_t size) {
  Bytes bytes(size);
  memory.read(gpa, bytes).value();
  return bytes;
}

uint64_t read_u64(const GuestMemory& memory, uint64_t gpa) {
  const Bytes bytes = read_guest(memory, Gpa{gpa}, 8);
  return ByteReader(bytes, "guest").u64();
}

uint32_t read_u32(const GuestMemory& memory, uint64_t gpa) {
  const Bytes bytes = read_guest(memory, Gpa{gpa}, 4);
  return ByteReader(bytes, "guest").u32();
}

}  // namespace godwit::vmm::test
