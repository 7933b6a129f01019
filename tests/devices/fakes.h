// What stands in for the machine, the host and the clock in the tests of devices.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "devices/console/console.h"
#include "devices/wall_timer.h"
#include "vmm/io/device.h"
#include "vmm/io/io_handler.h"

namespace godwit::devices {

class FakeIrq final : public vmm::IrqLine {
 public:
  void set(bool value) override {
    edges += value && !level ? 1 : 0;
    ++calls;
    level = value;
  }
  bool level = false;
  int edges = 0;  // from low to high
  int calls = 0;
};

class FakeEvents final : public vmm::GuestEvents {
 public:
  void power_off() override { ++power_offs; }
  void reset() override { ++resets; }
  void debug_exit(uint32_t code) override { exit_code = code; }
  int power_offs = 0;
  int resets = 0;
  std::optional<uint32_t> exit_code;
};

// A console without a thread: the test says how much it takes and what comes in.
class FakeConsole final : public ConsoleBackend {
 public:
  void attach(ConsoleClient& client) override { client_ = &client; }
  void detach() noexcept override { client_ = nullptr; }
  size_t write(std::span<const std::byte> bytes) override {
    const size_t n = std::min(bytes.size(), room);
    for (const std::byte b : bytes.first(n)) output.push_back(static_cast<char>(b));
    room -= n;
    return n;
  }
  void set_input_wanted(bool wanted) override { input_wanted = wanted; }
  void quiesce() override { quiesced = true; }
  void resume() override { quiesced = false; }
  void save_output(ByteWriter& out) const override { out.string(unsent); }
  void load_output(std::span<const std::byte> bytes) override {
    unsent.assign(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }
  void shut_down(Unsent) noexcept override { client_ = nullptr; }
  [[nodiscard]] std::string path() const override { return {}; }
  [[nodiscard]] ConsoleCounters counters() const override { return {}; }

  // Delivers as a backend does: chunk by chunk, while it is wanted. Returns what was taken.
  size_t type(std::string_view text) {
    size_t taken = 0;
    while (taken < text.size() && input_wanted && client_ != nullptr) {
      const auto chunk = text.substr(taken, kConsoleInputChunk);
      input_wanted = false;
      if (client_->receive(std::as_bytes(std::span(chunk)))) input_wanted = true;
      taken += chunk.size();
    }
    return taken;
  }
  void make_room(size_t bytes) {
    room = bytes;
    if (client_ != nullptr) client_->output_room();
  }

  std::string output;
  std::string unsent;
  size_t room = SIZE_MAX;
  bool input_wanted = true;
  bool quiesced = true;

 private:
  ConsoleClient* client_ = nullptr;
};

// A clock that stands still until it is turned.
class FakeTimer final : public WallTimer {
 public:
  explicit FakeTimer(Microseconds start = {}) : time(start) {}
  [[nodiscard]] Microseconds now() const override { return time; }
  void arm(Microseconds at) override {
    armed = at;
    ++arms;
  }
  void start(std::function<void()> on_alarm) override { on_alarm_ = std::move(on_alarm); }
  void stop() noexcept override { on_alarm_ = {}; }
  // Lets time pass, ringing on the way.
  void advance(Microseconds by) {
    const Microseconds end = time + by;
    while (armed && *armed <= end) {
      time = std::max(time, *armed);
      armed.reset();
      if (on_alarm_) on_alarm_();
    }
    time = end;
  }

  Microseconds time;
  std::optional<Microseconds> armed;
  int arms = 0;

 private:
  std::function<void()> on_alarm_;
};

inline uint8_t in8(vmm::IoHandler& device, uint64_t offset) {
  std::byte value{};
  device.read(offset, {&value, 1});
  return std::to_integer<uint8_t>(value);
}
inline void out8(vmm::IoHandler& device, uint64_t offset, uint8_t value) {
  const std::byte raw{value};
  device.write(offset, {&raw, 1});
}
inline uint16_t in16(vmm::IoHandler& device, uint64_t offset) {
  std::byte raw[2];
  device.read(offset, raw);
  return static_cast<uint16_t>(std::to_integer<unsigned>(raw[0]) | std::to_integer<unsigned>(raw[1])
                                                                       << 8);
}
inline void out16(vmm::IoHandler& device, uint64_t offset, uint16_t value) {
  const std::byte raw[2] = {static_cast<std::byte>(value), static_cast<std::byte>(value >> 8)};
  device.write(offset, raw);
}

inline std::vector<std::byte> saved(const vmm::Device& device) {
  ByteWriter out;
  device.save(out);
  return out.take();
}
inline Result<> load_bytes(vmm::Device& device, std::span<const std::byte> bytes) {
  ByteReader in(bytes, device.type());
  return device.load(in, device.state_version());
}

}  // namespace godwit::devices
