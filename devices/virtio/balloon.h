// Balloon device (virtio 1.2, 5.5): the host asks for memory back, and pages that the driver gives
// (inflate, 5.5.6.1) or reports as free (VIRTIO_BALLOON_F_PAGE_REPORTING, 5.5.6.7) are returned to
// the host at once (vmm::GuestMemory::discard): from then on they read as zeroes, and a migration
// does not read them. During a migration they are sent as zero pages, so that both sides stay
// equal. Deflating needs nothing of the device: a page comes back as it is touched.
//
// Asked during a migration, the driver hints which pages it does not use
// (VIRTIO_BALLOON_F_FREE_PAGE_HINT, free_page_hinting.h). VIRTIO_BALLOON_F_PAGE_POISON comes with
// it: a guest that fills its free pages with a value other than zero and relies on it is not asked,
// and what it reports stays with it.
//
// Own state, version 2: u32 pages that the balloon shall have | u32 pages that it has, of 4 KiB
// each | u32 poison value | u32 latest number of a free page hint session, 0 for none. Version 1,
// also that of a balloon without hints: the first two.
#pragma once
#include <array>
#include <atomic>
#include <mutex>
#include <optional>

#include "devices/virtio/balloon_config.h"
#include "devices/virtio/free_page_hinting.h"
#include "devices/virtio/model.h"

namespace godwit::devices::virtio {

// What the guest says of its memory; what it does not say is absent.
struct BalloonStatistics {
  std::optional<ByteCount> free;
  std::optional<ByteCount> available;
};

class Balloon final : public Model {
 public:
  // What one request may give or report; more breaks the rules when given and stays with the guest
  // when reported. Linux gives 256 at a time and reports 128 MiB.
  static constexpr uint32_t kMostGiven = 4096;
  static constexpr uint64_t kMostReported = 128u << 20;

  // Throws std::system_error when the host gives no descriptor.
  explicit Balloon(const BalloonConfig& config = {});

  // Threads: any.
  // Asks the driver for `pages` of 4 KiB; it gives them as it can.
  void set_target(uint32_t pages);
  [[nodiscard]] uint32_t target() const { return target_.load(); }
  [[nodiscard]] uint32_t actual() const { return actual_.load(); }
  // The latest that came, and asks for newer ones.
  BalloonStatistics statistics();
  // Null without VIRTIO_BALLOON_F_FREE_PAGE_HINT.
  [[nodiscard]] vmm::FreePageHints* free_page_hints() { return hints_offered_ ? &hints_ : nullptr; }

  [[nodiscard]] std::string_view type() const override { return "virtio-balloon"; }
  [[nodiscard]] uint16_t device_id() const override;
  [[nodiscard]] uint32_t class_code() const override { return 0x00ff00; }
  [[nodiscard]] uint16_t state_version() const override { return hints_offered_ ? 2 : 1; }
  [[nodiscard]] std::string traits() const override;
  [[nodiscard]] uint64_t features() const override;
  [[nodiscard]] std::vector<uint16_t> queue_sizes() const override;
  void read_config(uint32_t offset, std::span<std::byte> data) const override;
  void write_config(uint32_t offset, std::span<const std::byte> data) override;
  void start(Transport& transport, uint64_t features, unsigned thread) override;
  void stop(unsigned thread) override;
  void notified(uint16_t queue) override;
  void quiesce(unsigned) override { resumed_ = false; }
  void resume(unsigned thread) override;
  void arrived() override { tell_config_.store(true); }
  void save(ByteWriter& out) const override;
  Result<> load(ByteReader& in, uint16_t version) override;

 private:
  enum class Role { kNone, kInflate, kDeflate, kStatistics, kHint, kReport };
  static constexpr size_t kQueues = 5;
  void assign_roles();
  [[nodiscard]] bool keeps_poison() const;
  void config_is_new();
  void woken();
  // One request in chain_; the pages that it was about, nothing when it breaks the rules.
  std::optional<uint64_t> take(Role role);
  std::optional<uint64_t> inflate();
  uint64_t take_report();
  bool discard(Gpa gpa, ByteCount size);
  void read_statistics(uint16_t queue);
  void ask_statistics(uint16_t queue);

  const bool hints_offered_;
  UniqueFd wake_;
  std::atomic<uint32_t> target_{0};
  std::atomic<uint32_t> actual_{0};       // guest-controlled
  std::atomic<uint32_t> poison_{0};       // guest-controlled
  std::atomic<uint64_t> features_{0};     // of the driver; none without one
  std::atomic<bool> tell_config_{false};  // the driver has not been told of a change
  std::atomic<bool> wants_statistics_{false};
  std::mutex statistics_mutex_;
  BalloonStatistics statistics_;
  FreePageHinting hints_;

  // The device's thread's.
  Transport* transport_ = nullptr;
  std::array<Role, kQueues> roles_{};
  bool resumed_ = false;
  bool loaded_ = false;  // since the last start(): what stop() would forget came with the state
  bool complained_ = false;
  std::array<bool, kQueues> unfinished_{};  // queues whose turn ended before their requests did
  Chain chain_;
  std::vector<uint32_t> given_;
};

}  // namespace godwit::devices::virtio
