// Memory that disks with O_DIRECT take as it is.
#pragma once
#include <cstddef>
#include <cstdlib>
#include <memory>
#include <new>

#include "vmm/storage.h"

namespace godwit::migration {

struct FreeMemory {
  void operator()(std::byte* memory) const { std::free(memory); }
};
using AlignedBuffer = std::unique_ptr<std::byte, FreeMemory>;

// `bytes` is a multiple of vmm::kStorageAlignment.
inline AlignedBuffer aligned_buffer(size_t bytes) {
  AlignedBuffer buffer(static_cast<std::byte*>(std::aligned_alloc(vmm::kStorageAlignment, bytes)));
  if (!buffer) throw std::bad_alloc();
  return buffer;
}

}  // namespace godwit::migration
