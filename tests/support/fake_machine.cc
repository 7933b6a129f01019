#include "tests/support/fake_machine.h"

#include <array>

#include "migration/page/memory_hash.h"

namespace godwit::support {
namespace {

// A store as a guest makes it: the engine reads the page meanwhile, by design, and no sanitizer
// sees the writes of a real guest either. Not memcpy, which ThreadSanitizer intercepts.
[[gnu::no_sanitize("thread")]] void guest_store(vmm::GuestMemory& memory, Gpa gpa,
                                                std::span<const uint64_t> words) {
  volatile auto* to =
      reinterpret_cast<uint64_t*>(memory.at(gpa, ByteCount{words.size_bytes()}).value().data());
  const uint64_t* from = words.data();
  for (size_t i = 0, n = words.size(); i < n; ++i) to[i] = from[i];
  memory.mark_dirty(gpa, ByteCount{words.size_bytes()});
}

}  // namespace

void World::enter() {
  const int now_running = ++running;
  int most = most_running;
  while (most < now_running && !most_running.compare_exchange_weak(most, now_running)) {
  }
}

void World::leave() {
  --running;
}

FakeMachine::FakeMachine(World& world, const FakeGuest& guest, bool fill)
    : world_(world),
      guest_(guest),
      memory_(vmm::GuestMemory::create({.size = guest.memory}).value()),
      tracker_(*memory_) {
  // A target's disks hold something else: what is to be zero there must be made so.
  for (const uint64_t size : guest.disks) {
    if (size == 0) continue;
    disks_.push_back(std::make_unique<FakeVolume>("disk" + std::to_string(disks_.size()), size,
                                                  fill ? std::byte{0} : std::byte{0xee}));
  }
  if (!fill) return;
  for (const auto& disk : disks_) {
    const uint64_t size = disk->description().size_bytes;
    disk->guest_write(size / 3 / 512 * 512, size / 3, std::byte{0x77});
  }
  for (uint64_t p = 0; p < guest_.filled_pages; ++p) {
    // Every fourth page is touched but zero; a third of the rest compresses well.
    std::vector<uint64_t> words(kPageSize / 8, 0);
    uint64_t x = p * 0x9e3779b97f4a7c15ull + 1;
    for (uint64_t& w : words) {
      if (p % 4 == 0) break;
      x ^= x << 13, x ^= x >> 7, x ^= x << 17;
      w = p % 3 == 0 ? p : x;
    }
    memory_->write(Gpa{p * kPageSize}, std::as_bytes(std::span(words))).value();
  }
}

FakeMachine::~FakeMachine() {
  if (running_) pause();
}

vmm::MachineDescription FakeMachine::describe() const {
  return {.arch = "fake", .memory_size = guest_.memory, .vcpus = 1, .devices = {}, .cpu = {}};
}

vmm::PauseTimes FakeMachine::pause() {
  if (on_pause) on_pause();
  const TimePoint requested = now();
  if (running_) {
    writer_.request_stop();
    writer_.join();
    running_ = false;
    world_.leave();
  }
  return {requested, now(), now()};
}

void FakeMachine::resume() {
  if (running_) return;
  hash_at_resume_ = migration::memory_hash(*memory_);
  disks_at_resume_.clear();
  for (const auto& disk : disks_) disks_at_resume_.push_back(disk->content());
  world_.enter();
  running_ = true;
  entered_ = now();
  writer_ = std::jthread([this](const std::stop_token& stop) { write_pages(stop); });
}

void FakeMachine::write_pages(const std::stop_token& stop) {
  while (!stop.stop_requested()) {
    for (uint64_t i = 0; i < guest_.pages_per_millisecond; ++i) step();
    if (beside) beside();
    for (uint64_t i = 0; i < guest_.disk_writes_per_millisecond; ++i) write_disk();
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

void FakeMachine::guest_write(Gpa gpa, std::span<const uint64_t> words) {
  guest_store(*memory_, gpa, words);
}

void FakeMachine::step() {
  random_ ^= random_ << 13, random_ ^= random_ >> 7, random_ ^= random_ << 17;
  const uint64_t page = random_ % guest_.working_set_pages;
  const uint64_t sequence = ++steps_;
  // Now and then a page becomes zero again.
  if (sequence % 16 == 0) {
    static constexpr std::array<uint64_t, kPageSize / 8> kZeroes{};
    guest_store(*memory_, Gpa{page * kPageSize}, kZeroes);
    return;
  }
  guest_store(*memory_, Gpa{page * kPageSize + random_ / 8 % 512 * 8}, {&sequence, 1});
}

// Anywhere, 512 bytes to 64 KiB; now and then zeroes, as a discard leaves them.
void FakeMachine::write_disk() {
  random_ ^= random_ << 13, random_ ^= random_ >> 7, random_ ^= random_ << 17;
  FakeVolume& disk = *disks_[random_ % disks_.size()];
  const uint64_t sectors = disk.description().size_bytes / 512;
  const uint64_t length = std::min<uint64_t>(random_ / 16 % 128 + 1, sectors);
  const uint64_t at = random_ / 4096 % (sectors - length + 1);
  const auto value = static_cast<std::byte>(random_ % 8 == 0 ? 0 : random_ >> 40);
  disk.guest_write(at * 512, length * 512, value);
}

std::vector<vmm::StorageVolume*> FakeMachine::volumes() {
  std::vector<vmm::StorageVolume*> all;
  for (const auto& disk : disks_) all.push_back(disk.get());
  return all;
}

void FakeMachine::save(ByteWriter& out) {
  ByteWriter state;
  state.u64(steps_);
  state.u64(random_);
  vmm::write_section({"fake", 0, 1, false, state.take()}, out);
  // Saving writes guest memory too: only a harvest after it finds this.
  const uint64_t mark = steps_ ^ 0x5a5a;
  memory_->write(Gpa{guest_.memory.value - kPageSize}, std::as_bytes(std::span(&mark, 1))).value();
}

Result<> FakeMachine::load(std::span<const std::byte> bytes,
                           std::optional<Nanoseconds> clock_offset) {
  ++loads_;
  clock_offset_ = clock_offset;
  if (load_error) return *load_error;
  GODWIT_ASSIGN(const auto sections, vmm::read_sections(bytes));
  if (sections.size() != 1 || sections[0].type != "fake") {
    return Error{Errc::kIncompatible, "the state is not that of a fake machine"};
  }
  ByteReader in(sections[0].payload, "fake state");
  const uint64_t steps = in.u64();
  const uint64_t random = in.u64();
  GODWIT_TRY(in.finish());
  steps_ = steps;
  random_ = random;
  return {};
}

std::optional<TimePoint> FakeMachine::wait_first_entry(Nanoseconds) {
  if (!running_) return std::nullopt;
  return entered_;
}

Result<std::unique_ptr<vmm::Machine>> FakeFactory::create(
    const vmm::MachineDescription& description) {
  if (refuse) return *refuse;
  if (description.arch != "fake" || description.memory_size != guest_.memory) {
    return Error{Errc::kIncompatible, "another machine"};
  }
  auto machine = std::make_unique<FakeMachine>(world_, guest_, false);
  machine->load_error = load_error;
  for (size_t i = 0; i < machine->disks(); ++i) machine->disk(i).write_error = disk_error;
  ++made;
  return std::unique_ptr<vmm::Machine>(std::move(machine));
}

}  // namespace godwit::support
