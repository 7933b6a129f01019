#include "vmm/state/sections.h"

#include <xxhash.h>

namespace godwit::vmm {
namespace {
constexpr uint32_t kSectionMagic = 0x54535747;  // "GWST"
constexpr uint16_t kFlagOptional = 1;
}  // namespace

void write_section(const StateSection& section, ByteWriter& out) {
  const size_t start = out.size();
  out.u32(kSectionMagic);
  out.u16(section.version);
  out.u16(section.optional ? kFlagOptional : 0);
  out.u32(section.instance);
  out.string(section.type);
  out.blob(section.payload);
  const auto covered = out.view().subspan(start);
  out.u64(XXH3_64bits(covered.data(), covered.size()));
}

Result<std::vector<StateSection>> read_sections(std::span<const std::byte> bytes) {
  std::vector<StateSection> sections;
  ByteReader reader(bytes, "state sections");
  while (reader.ok() && reader.remaining() != 0) {
    if (sections.size() == kMaxSections) {
      return make_error(Errc::kCorrupt, "state sections: more than {}", kMaxSections);
    }
    const size_t start = reader.position();
    if (const uint32_t magic = reader.u32(); reader.ok() && magic != kSectionMagic) {
      return make_error(Errc::kCorrupt, "state sections: no section at offset {} (found {:#x})",
                        start, magic);
    }
    StateSection section;
    section.version = reader.u16();
    const uint16_t flags = reader.u16();
    if (reader.ok() && (flags & ~kFlagOptional) != 0) {
      return make_error(Errc::kCorrupt, "state sections: unknown flags {:#x} at offset {}", flags,
                        start);
    }
    section.optional = (flags & kFlagOptional) != 0;
    section.instance = reader.u32();
    section.type = reader.string(kMaxSectionType, "a section's type length");
    const auto payload = reader.blob(kMaxSectionBytes, "a section's length");
    const size_t end = reader.position();
    const uint64_t checksum = reader.u64();
    GODWIT_TRY(reader.status());
    if (checksum != XXH3_64bits(bytes.data() + start, end - start)) {
      return make_error(Errc::kCorrupt,
                        "state sections: wrong checksum of the section at offset {}", start);
    }
    section.payload.assign(payload.begin(), payload.end());
    sections.push_back(std::move(section));
  }
  GODWIT_TRY(reader.finish());
  return sections;
}

}  // namespace godwit::vmm
