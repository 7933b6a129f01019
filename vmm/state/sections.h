// Serialized state: a list of typed, versioned, checksummed sections. The wire and (later)
// checkpoint files carry the same ones. Byte tables: migration/PROTOCOL.md.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "vmm/base/byte_io.h"
#include "vmm/base/error.h"

namespace godwit::vmm {

inline constexpr uint32_t kMaxSectionBytes = 4u << 20;
inline constexpr uint32_t kMaxSections = 4096;
inline constexpr uint32_t kMaxSectionType = 64;

// `type` names what it is ("vcpu", "serial-16550", ...), `instance` which one of its type.
struct StateSection {
  std::string type;
  uint32_t instance = 0;
  uint16_t version = 1;
  // A reader that does not know an optional section skips it; an unknown mandatory one is refused.
  bool optional = false;
  std::vector<std::byte> payload;
};

// Encodes sections one behind the other, so that a part can be sent while the next is saved.
void write_section(const StateSection& section, ByteWriter& out);
// Errors: kCorrupt for anything that is not whole sections with right checksums.
Result<std::vector<StateSection>> read_sections(std::span<const std::byte> bytes);

}  // namespace godwit::vmm
