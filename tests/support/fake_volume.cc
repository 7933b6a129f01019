#include "tests/support/fake_volume.h"

#include <algorithm>

namespace godwit::support {

FakeVolume::FakeVolume(std::string name, uint64_t size, std::byte content)
    : description_{std::move(name), size, ""},
      bytes_(size, content),
      changed_(vmm::granules_of(size)) {}

void FakeVolume::start_tracking() {
  const std::lock_guard lock(mutex_);
  changed_.assign(changed_.size(), false);
  tracking_ = true;
}

void FakeVolume::harvest(vmm::DirtyBitmap& into) {
  const std::lock_guard lock(mutex_);
  for (size_t granule = 0; granule < changed_.size(); ++granule) {
    if (changed_[granule]) into.set(PageIndex{granule});
  }
  changed_.assign(changed_.size(), false);
}

void FakeVolume::stop_tracking() noexcept {
  tracking_ = false;
}

// What is zero up to the end of its granule is a hole.
uint64_t FakeVolume::next_data(uint64_t offset) {
  const std::lock_guard lock(mutex_);
  const auto from = bytes_.begin() + static_cast<ptrdiff_t>(offset);
  const auto data = std::find_if(from, bytes_.end(), [](std::byte b) { return b != std::byte{0}; });
  return static_cast<uint64_t>(data - bytes_.begin());
}

Result<> FakeVolume::read(uint64_t offset, std::span<std::byte> to) {
  ++reads_;
  if (read_error) return *read_error;
  const std::lock_guard lock(mutex_);
  if (offset + to.size() > bytes_.size()) return Error{Errc::kIo, "read beyond the end"};
  std::copy_n(bytes_.begin() + static_cast<ptrdiff_t>(offset), to.size(), to.begin());
  return {};
}

Result<> FakeVolume::write(uint64_t offset, std::span<const std::byte> from) {
  if (write_error) return *write_error;
  const std::lock_guard lock(mutex_);
  if (offset + from.size() > bytes_.size()) return Error{Errc::kIo, "write beyond the end"};
  std::copy(from.begin(), from.end(), bytes_.begin() + static_cast<ptrdiff_t>(offset));
  unflushed_ = true;
  return {};
}

Result<> FakeVolume::write_zeroes(uint64_t offset, uint64_t length) {
  if (write_error) return *write_error;
  fill(offset, length, std::byte{0});
  unflushed_ = true;
  return {};
}

Result<> FakeVolume::flush() {
  unflushed_ = false;
  return {};
}

void FakeVolume::fill(uint64_t offset, uint64_t length, std::byte value) {
  const std::lock_guard lock(mutex_);
  std::fill_n(bytes_.begin() + static_cast<ptrdiff_t>(offset), length, value);
}

void FakeVolume::guest_write(uint64_t offset, uint64_t length, std::byte value) {
  fill(offset, length / 2, value);
  fill(offset + length / 2, length - length / 2, value);
  if (!tracking_) return;
  const std::lock_guard lock(mutex_);
  const uint64_t last = (offset + length - 1) / vmm::kStorageGranule;
  for (uint64_t g = offset / vmm::kStorageGranule; g <= last; ++g) changed_[g] = true;
}

std::vector<std::byte> FakeVolume::content() const {
  const std::lock_guard lock(mutex_);
  return bytes_;
}

}  // namespace godwit::support
