// What every device's load() has to stand.
#pragma once
#include <gtest/gtest.h>

#include "tests/devices/fakes.h"

namespace godwit::devices {

// Reads and writes every one of `registers` with a few values, so that a bad state would show
// (under a sanitizer) when the device works with it.
inline void exercise(vmm::IoHandler& device, std::span<const uint64_t> registers) {
  for (const uint8_t value : {0x00, 0x55, 0xff, 0x80}) {
    for (const uint64_t offset : registers) {
      (void)in8(device, offset);
      out8(device, offset, value);
      (void)in8(device, offset);
    }
  }
}

// `make` returns a std::unique_ptr to a fresh fixture with a member `device`; `use` works with such
// a device.
template <class Make, class Use>
void torture_state(std::span<const std::byte> good, Make&& make, Use&& use) {
  // Cut anywhere, or longer than it should be: refused, and nothing is changed.
  auto victim = make();
  const auto before = saved(victim->device);
  for (size_t n = 0; n < good.size(); ++n) {
    const auto result = load_bytes(victim->device, good.first(n));
    ASSERT_FALSE(result) << "cut to " << n << " bytes";
    EXPECT_EQ(result.error().code, Errc::kCorrupt);
    ASSERT_EQ(saved(victim->device), before) << "cut to " << n << " bytes";
  }
  std::vector<std::byte> longer(good.begin(), good.end());
  longer.push_back(std::byte{0});
  ASSERT_FALSE(load_bytes(victim->device, longer));
  ASSERT_EQ(saved(victim->device), before);

  // Any byte changed: refused without a change, or a state that works and survives another trip.
  for (size_t i = 0; i < good.size(); ++i) {
    for (const int mask : {0x01, 0x10, 0x80, 0xff}) {
      std::vector<std::byte> bad(good.begin(), good.end());
      bad[i] ^= std::byte(mask);
      auto target = make();
      if (!load_bytes(target->device, bad)) {
        ASSERT_EQ(saved(target->device), before) << "byte " << i << " mask " << mask;
        continue;
      }
      ASSERT_EQ(saved(target->device), bad) << "byte " << i << " mask " << mask;
      target->device.resume();
      use(target->device);
      target->device.quiesce();
      auto next = make();
      ASSERT_TRUE(load_bytes(next->device, saved(target->device))) << "byte " << i;
    }
  }
}

template <class Make>
void torture_state(std::span<const std::byte> good, Make&& make) {
  torture_state(good, std::forward<Make>(make), [](vmm::Device&) {});
}

template <class Make>
void torture_load(std::span<const std::byte> good, std::span<const uint64_t> registers,
                  Make&& make) {
  torture_state(good, std::forward<Make>(make),
                [&](vmm::IoHandler& device) { exercise(device, registers); });
}

}  // namespace godwit::devices
