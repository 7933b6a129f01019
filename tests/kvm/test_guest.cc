#include "tests/kvm/test_guest.h"

#include <fmt/core.h>

#include <cstring>
#include <thread>

namespace godwit::vmm::test {
namespace {

constexpr uint64_t kGdt = 0x1000, kIdt = 0x2000, kTrampoline = 0x8000, kPml4 = 0x20000;
constexpr uint64_t kPdpt = 0x21000, kDirectories = 0x22000;
constexpr uint64_t kTssBase = 0x100000, kTssStride = 0x3000;
constexpr uint64_t kTssLimit = 0x67 + 8193;  // with the I/O bitmap of all ports
constexpr unsigned kTssCount = 8;
constexpr unsigned kMappedGib = 6;
constexpr uint64_t kUserPresentWritable = 7;

uint64_t address_of(const char* symbol) {
  return kBlob + static_cast<uint64_t>(symbol - blob_start);
}

}  // namespace

void Port::read(uint64_t, std::span<std::byte> data) {
  const std::lock_guard lock(mutex_);
  const uint64_t value = ++reads_;
  std::memcpy(data.data(), &value, data.size());
}

void Port::write(uint64_t offset, std::span<const std::byte> data) {
  const std::lock_guard lock(mutex_);
  uint64_t value = 0;
  std::memcpy(&value, data.data(), data.size());
  writes_.push_back(fmt::format("{:x}:{}:{:x}", offset, data.size(), value));
  cv_.notify_all();
}

bool Port::wait_for_writes(size_t count) {
  std::unique_lock lock(mutex_);
  return cv_.wait_for(lock, kPatience, [&] { return writes_.size() >= count; });
}

std::vector<std::string> Port::writes() {
  const std::lock_guard lock(mutex_);
  return writes_;
}

uint64_t Port::reads() {
  const std::lock_guard lock(mutex_);
  return reads_;
}

void Port::continue_after(Port& other) {
  const uint64_t reads = other.reads();
  const std::lock_guard lock(mutex_);
  reads_ = reads;
}

void Events::reset() {
  const std::lock_guard lock(mutex_);
  reset_ = true;
  cv_.notify_all();
}

bool Events::wait_for_reset() {
  std::unique_lock lock(mutex_);
  return cv_.wait_for(lock, kPatience, [&] { return reset_; });
}

VmConfig small_config(DirtyTracking tracking) {
  VmConfig config;
  config.memory.size = 64_MiB;
  config.dirty_tracking = tracking;
  return config;
}

TestGuest::TestGuest(const VmConfig& config) {
  vm_ = Vm::create(config).value();
  vm_->port_bus().attach(0x80, 1, done_);
  vm_->port_bus().attach(0xfe, 4, fault_);
  vm_->port_bus().attach(0x1234, 4, port_);
  vm_->mmio_bus().attach(kMmioBase, 0x1000, mmio_);
  vm_->set_events(events_);
  vm_->set_fault_handler([this](const std::string& text) {
    const std::lock_guard lock(mutex_);
    vm_fault_ = text;
    cv_.notify_all();
  });
}

TestGuest::~TestGuest() {
  vm_->shut_down();
}

void TestGuest::place_tables() {
  write64(kPml4, kPdpt | kUserPresentWritable);
  for (uint64_t gib = 0; gib < kMappedGib; ++gib) {
    write64(kPdpt + gib * 8, (kDirectories + gib * kPageSize) | kUserPresentWritable);
    for (uint64_t i = 0; i < 512; ++i) {
      write64(kDirectories + gib * kPageSize + i * 8,
              gib << 30 | i << 21 | 0x80 | kUserPresentWritable);
    }
  }
  const uint64_t gdt[] = {0,
                          0x00af9b000000ffff,   // 0x08 ring-0 code
                          0x00cf93000000ffff,   // 0x10 ring-0 data
                          0x00cff3000000ffff,   // 0x18 ring-3 data
                          0x00affb000000ffff};  // 0x20 ring-3 code
  for (size_t i = 0; i < std::size(gdt); ++i) write64(kGdt + i * 8, gdt[i]);
  for (uint64_t cpu = 0; cpu < kTssCount; ++cpu) {
    const uint64_t base = kTssBase + cpu * kTssStride;
    write64(kGdt + 0x30 + cpu * 16,
            (kTssLimit & 0xffff) | (base & 0xffffff) << 16 | uint64_t{0x89} << 40);
    write64(kGdt + 0x38 + cpu * 16, base >> 32);
    write64(base + 4, 0x60000 + (cpu + 1) * 0x1000 - 16);  // RSP0
    write64(base + 0x60, uint64_t{0x68} << 48);            // where the I/O bitmap begins
    write64(base + 0x68 + 8192, 0xff);                     // ... and ends; zeroes allow every port
  }
  for (uint64_t vector = 0; vector < 32; ++vector) {
    const uint64_t handler = address_of(stubs) + vector * 16;
    write64(kIdt + vector * 16, (handler & 0xffff) | uint64_t{8} << 16 | uint64_t{0x8e} << 40 |
                                    (handler >> 16 & 0xffff) << 48);
    write64(kIdt + vector * 16 + 8, handler >> 32);
  }
}

void TestGuest::start(const char* program, const Start& start) {
  place_tables();
  const auto code = std::as_bytes(std::span(trampoline, trampoline_end));
  vm_->memory().write(Gpa{kTrampoline}, code).value();
  start_raw(blob_start, BootProtocol::kPvh, start);
  write64(kStartBlock, address_of(program));
}

void TestGuest::start_raw(const char* entry, BootProtocol protocol, const Start& start) {
  vm_->memory().write(Gpa{kBlob}, std::as_bytes(std::span(blob_start, blob_end))).value();
  const uint64_t block[] = {0,         0x70ff0,   start.xcr0, start.rax, start.rbx,
                            start.rcx, start.rdx, start.rsi,  start.rdi, start.r8};
  vm_->memory().write(Gpa{kStartBlock}, std::as_bytes(std::span(block))).value();
  vm_->start_at({protocol, Gpa{address_of(entry)}, Gpa{kStartBlock}}).value();
}

std::string TestGuest::wait_for_fault() {
  std::unique_lock lock(mutex_);
  cv_.wait_for(lock, kPatience, [&] { return !vm_fault_.empty(); });
  return vm_fault_;
}

uint64_t TestGuest::read64(uint64_t gpa) {
  const auto bytes = vm_->memory().at(Gpa{gpa}, ByteCount{8}).value();
  return __atomic_load_n(reinterpret_cast<uint64_t*>(bytes.data()), __ATOMIC_ACQUIRE);
}

void TestGuest::write64(uint64_t gpa, uint64_t value) {
  vm_->memory().write(Gpa{gpa}, std::as_bytes(std::span(&value, 1))).value();
}

bool TestGuest::wait_until(uint64_t gpa, uint64_t value) {
  const auto deadline = now() + kPatience;
  while (read64(gpa) < value) {
    if (now() > deadline) return false;
    std::this_thread::sleep_for(std::chrono::microseconds(100));
  }
  return true;
}

std::vector<std::byte> TestGuest::save() {
  ByteWriter out;
  vm_->save(out);
  return out.take();
}

void copy_memory(TestGuest& from, TestGuest& to) {
  GuestMemory& source = from.vm().memory();
  for (const PageRange& range : source.touched()) {
    std::memcpy(to.vm().memory().page(range.first), source.page(range.first),
                range.count * kPageSize);
  }
}

}  // namespace godwit::vmm::test
