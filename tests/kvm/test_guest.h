// A small guest on real KVM whose every step the host can predict.
#pragma once
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "vmm/vm.h"

// Of guest.S.
extern "C" {
extern const char blob_start[], blob_end[], stubs[], trampoline[], trampoline_end[];
extern const char g_done[], g_counter[], g_avx_counter[], g_random_writer[], g_rounds[], g_touch[],
    g_ports[], g_mmio[], g_port_counter[], g_tsc[], g_divide_error[], g_start_aps[],
    g_ring0_cpuid[], g_long_entry[], g_bad_instruction[];
}

namespace godwit::vmm::test {

inline constexpr uint64_t kBlob = 0x40000;
inline constexpr uint64_t kBox = 0x82000;  // where programs leave small results
inline constexpr uint64_t kStartBlock = 0x3000;
inline constexpr uint64_t kData = 0x200000;  // and up: free for programs
inline constexpr std::chrono::seconds kPatience{60};

// What a program of guest.S is given.
struct Start {
  uint64_t xcr0 = 0;
  uint64_t rax = 0, rbx = 0, rcx = 0, rdx = 0, rsi = 0, rdi = 0, r8 = 0;
};

// Counts accesses and remembers what was written.
class Port : public IoHandler {
 public:
  void read(uint64_t offset, std::span<std::byte> data) override;
  void write(uint64_t offset, std::span<const std::byte> data) override;
  bool wait_for_writes(size_t count);
  // "offset:size:value" in hex for each write; reads answer with a running number.
  std::vector<std::string> writes();
  uint64_t reads();
  // Goes on with the numbers of another one.
  void continue_after(Port& other);

 private:
  std::mutex mutex_;
  std::condition_variable cv_;
  std::vector<std::string> writes_;
  uint64_t reads_ = 0;
};

class Events : public GuestEvents {
 public:
  void power_off() override {}
  void reset() override;
  void debug_exit(uint32_t) override {}
  bool wait_for_reset();

 private:
  std::mutex mutex_;
  std::condition_variable cv_;
  bool reset_ = false;
};

VmConfig small_config(DirtyTracking tracking = DirtyTracking::kAuto);

class TestGuest {
 public:
  explicit TestGuest(const VmConfig& config = small_config());
  ~TestGuest();

  // Places tables and blob, and the boot vCPU at the program's start.
  void start(const char* program, const Start& start = {});
  // Starts at the given place of the blob, without the way to ring 3.
  void start_raw(const char* entry, BootProtocol protocol, const Start& start = {});

  Vm& vm() { return *vm_; }
  Port& done() { return done_; }
  Port& port() { return port_; }
  Port& mmio() { return mmio_; }
  Events& events() { return events_; }
  // Why the VM stopped by itself; empty after kPatience.
  std::string wait_for_fault();
  // What the guest's own exception handler reported: "0:4:VECTOR".
  bool wait_for_exception() { return fault_.wait_for_writes(1); }
  std::vector<std::string> exceptions() { return fault_.writes(); }

  uint64_t read64(uint64_t gpa);
  void write64(uint64_t gpa, uint64_t value);
  // Spins until the u64 at `gpa` is at least `value`; false after kPatience.
  bool wait_until(uint64_t gpa, uint64_t value);
  std::vector<std::byte> save();

  static constexpr uint64_t kMmioBase = 0xd0000000;

 private:
  void place_tables();

  Port done_, fault_, port_, mmio_;
  Events events_;
  std::mutex mutex_;
  std::condition_variable cv_;
  std::string vm_fault_;
  std::unique_ptr<Vm> vm_;
};

// Copies all of guest memory.
void copy_memory(TestGuest& from, TestGuest& to);

}  // namespace godwit::vmm::test
