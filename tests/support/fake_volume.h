// A disk in memory for tests of the engine.
#pragma once
#include <atomic>
#include <mutex>
#include <optional>
#include <vector>

#include "vmm/storage.h"

namespace godwit::support {

// Threads: any; the guest's writes take two steps, so that the engine may read between them.
class FakeVolume final : public vmm::StorageVolume {
 public:
  FakeVolume(std::string name, uint64_t size, std::byte content);

  [[nodiscard]] const vmm::VolumeDescription& description() const override { return description_; }
  void start_tracking() override;
  void harvest(vmm::DirtyBitmap& into) override;
  void stop_tracking() noexcept override;
  uint64_t next_data(uint64_t offset) override;
  Result<> read(uint64_t offset, std::span<std::byte> to) override;
  Result<> write(uint64_t offset, std::span<const std::byte> from) override;
  Result<> write_zeroes(uint64_t offset, uint64_t length) override;
  Result<> flush() override;
  void keep() override { kept_ = true; }

  // As the guest does it: the bytes are `value` when it returns, and half of them before.
  void guest_write(uint64_t offset, uint64_t length, std::byte value);
  [[nodiscard]] std::vector<std::byte> content() const;
  [[nodiscard]] bool tracking() const { return tracking_; }
  [[nodiscard]] bool kept() const { return kept_; }
  // Whether all that was written is flushed.
  [[nodiscard]] bool durable() const { return !unflushed_; }
  [[nodiscard]] int reads() const { return reads_; }

  // write() and read() fail with these from then on.
  std::optional<Error> write_error;
  std::optional<Error> read_error;

 private:
  void fill(uint64_t offset, uint64_t length, std::byte value);

  const vmm::VolumeDescription description_;
  mutable std::mutex mutex_;
  std::vector<std::byte> bytes_;
  std::vector<bool> changed_;  // granules
  std::atomic<bool> tracking_{false};
  std::atomic<bool> kept_{false};
  std::atomic<bool> unflushed_{false};
  std::atomic<int> reads_{0};
};

}  // namespace godwit::support
