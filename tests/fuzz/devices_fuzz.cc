// A guest and a peer that both lie: the bytes drive register accesses on one device, what its host
// side does, and load(). Whatever they do, the device must save a state that loads into a fresh
// device and saves as the same bytes there.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>

#include "devices/acpi_pm.h"
#include "devices/debug_exit.h"
#include "devices/i8042.h"
#include "devices/post_port.h"
#include "devices/rtc_cmos.h"
#include "devices/serial_16550.h"
#include "tests/devices/fakes.h"
#include "tests/fuzz/fuzz_input.h"

namespace godwit::devices {
namespace {

void require(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "devices_fuzz: %s\n", what);
  std::abort();
}

// Each fixture: `device`, kFirst and kSize of its offsets, and the host's side of it.
struct SerialFixture {
  static constexpr uint64_t kFirst = 0, kSize = kSerialPorts;
  FakeConsole console;
  FakeIrq irq;
  Serial16550 device{console, irq};
  void host(FuzzInput& in) {
    const uint8_t n = in.u8();
    if (n < 128) {
      const auto text = in.take(n);
      console.type({reinterpret_cast<const char*>(text.data()), text.size()});
    } else {
      console.make_room(n - 128u);
    }
  }
};

struct RtcFixture {
  static constexpr uint64_t kFirst = 0, kSize = kRtcPorts;
  FakeTimer timer{std::chrono::hours(500'000)};
  FakeIrq irq;
  RtcCmos device{{.memory_under_4g = 3_GiB, .memory_over_4g = 1_GiB, .vcpus = 2}, timer, irq};
  void host(FuzzInput& in) {
    // From 32 us to 12 days, or the host's clock set back.
    const uint8_t n = in.u8();
    const Microseconds step(int64_t{32} << (n & 0x1f));
    if ((n & 0x20) != 0) {
      timer.time -= step;
    } else {
      // As many alarms as come at once: a timer that kept ringing would show as a hang.
      timer.advance(step);
    }
  }
};

struct I8042Fixture {
  static constexpr uint64_t kFirst = kI8042DataPort, kSize = 0x33;
  FakeEvents events;
  FakeIrq irq;
  I8042 device{events, irq};
  void host(FuzzInput&) {}
};

struct AcpiFixture {
  static constexpr uint64_t kFirst = 0, kSize = kAcpiPorts;
  FakeEvents events;
  FakeIrq irq;
  AcpiPm device{events, irq};
  void host(FuzzInput&) { device.press_power_button(); }
};

struct ExitFixture {
  static constexpr uint64_t kFirst = 0, kSize = kDebugExitPorts;
  FakeEvents events;
  DebugExit device{events};
  void host(FuzzInput&) {}
};

struct PostFixture {
  static constexpr uint64_t kFirst = 0, kSize = kPostPorts;
  PostPort device;
  void host(FuzzInput&) {}
};

template <class Fixture>
void access(Fixture& fixture, FuzzInput& in, bool write) {
  const uint64_t offset = in.u8() % Fixture::kSize;
  uint64_t size = uint64_t{1} << (in.u8() % 4);
  while (size > Fixture::kSize - offset) size /= 2;  // the bus lets nothing wider through
  std::byte data[8] = {};
  const auto value = in.take(write ? size : 0);
  std::copy(value.begin(), value.end(), data);
  if (write) {
    fixture.device.write(Fixture::kFirst + offset, std::span(data).first(size));
  } else {
    fixture.device.read(Fixture::kFirst + offset, std::span(data).first(size));
  }
}

template <class Fixture>
void move(std::unique_ptr<Fixture>& fixture) {
  fixture->device.quiesce();
  const auto state = saved(fixture->device);
  auto next = std::make_unique<Fixture>();
  require(static_cast<bool>(load_bytes(next->device, state)), "its own state was refused");
  require(saved(next->device) == state, "a loaded state saves differently");
  next->device.resume();
  fixture = std::move(next);
}

template <class Fixture>
void load_anything(Fixture& fixture, FuzzInput& in) {
  fixture.device.quiesce();
  const auto before = saved(fixture.device);
  const auto bytes = in.take(in.u8());
  const bool loaded = static_cast<bool>(load_bytes(fixture.device, bytes));
  const auto after = saved(fixture.device);
  require(std::ranges::equal(after, loaded ? bytes : std::span<const std::byte>(before)),
          "load() is not all or nothing");
  fixture.device.resume();
}

template <class Fixture>
void run(FuzzInput in) {
  auto fixture = std::make_unique<Fixture>();
  fixture->device.resume();
  while (!in.empty()) {
    switch (in.u8() % 8) {
      case 0:
      case 1:
        access(*fixture, in, false);
        break;
      case 2:
      case 3:
      case 4:
        access(*fixture, in, true);
        break;
      case 5:
        fixture->host(in);
        break;
      case 6:
        move(fixture);
        break;
      default:
        load_anything(*fixture, in);
        break;
    }
  }
  move(fixture);
}

}  // namespace
}  // namespace godwit::devices

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace godwit::devices;
  FuzzInput in(std::as_bytes(std::span(data, size)));
  switch (in.u8() % 6) {
    case 0:
      run<SerialFixture>(in);
      break;
    case 1:
      run<RtcFixture>(in);
      break;
    case 2:
      run<I8042Fixture>(in);
      break;
    case 3:
      run<AcpiFixture>(in);
      break;
    case 4:
      run<ExitFixture>(in);
      break;
    default:
      run<PostFixture>(in);
      break;
  }
  return 0;
}
