// The bytes of a kernel or an initrd, in a file or in memory.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "vmm/base/error.h"
#include "vmm/base/fd.h"
#include "vmm/base/types.h"
#include "vmm/memory/guest_memory.h"

namespace godwit::vmm {

// Read by offset and never mapped: a file that is cut short meanwhile is an error, not a SIGBUS.
// Large parts go straight from the file into guest memory. Not synchronised.
class Image {
 public:
  // Opens a regular file. Errors name the path: it does not exist, may not be read, is a directory
  // or another thing without a size.
  static Result<Image> open(const std::string& path);
  // Bytes in memory, which must outlive the image; `name` stands for the path in errors.
  static Image of(std::span<const std::byte> bytes, std::string name);

  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] uint64_t size() const { return size_; }

  // Fills `to` from `offset`. Errors: any of it lies outside the image (kCorrupt), or the disk
  // failed (kIo).
  Result<> read(uint64_t offset, std::span<std::byte> to) const;
  // The same into new memory; the caller has capped `size`.
  Result<std::vector<std::byte>> read(uint64_t offset, uint64_t size) const;
  // Up to `size` bytes from the start: less when the image is shorter.
  Result<std::vector<std::byte>> head(uint64_t size) const;
  // [offset, offset + size) of the image to guest RAM at `gpa`, marked dirty. Errors: outside the
  // image, outside RAM.
  Result<> copy_to(GuestMemory& memory, Gpa gpa, uint64_t offset, uint64_t size) const;

 private:
  Image(UniqueFd fd, std::span<const std::byte> bytes, uint64_t size, std::string name)
      : fd_(std::move(fd)), bytes_(bytes), size_(size), name_(std::move(name)) {}

  UniqueFd fd_;  // invalid when the bytes are in memory
  std::span<const std::byte> bytes_;
  uint64_t size_ = 0;
  std::string name_;
};

}  // namespace godwit::vmm
