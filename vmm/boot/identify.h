// What a file is that was given as a kernel.
#pragma once
#include <cstddef>
#include <span>
#include <string>

namespace godwit::vmm {

enum class ImageKind {
  kElf64X86,  // an ELF that the PVH loader may try
  kBzImage,   // "HdrS" at 0x202: a Linux kernel with a setup header
  kOther,     // nothing that boots here
};

struct ImageIdentity {
  ImageKind kind = ImageKind::kOther;
  std::string found;  // with its article: "an ELF for aarch64", "gzip data", "an empty file"
  std::string hint;   // what to do about it; empty when there is no better advice than the common
};

// Looks at the first bytes (kIdentifyBytes are enough) and at nothing else.
inline constexpr size_t kIdentifyBytes = 0x1000;
ImageIdentity identify(std::span<const std::byte> head);

}  // namespace godwit::vmm
