#include "vmm/memory/host_memory.h"

#include <gtest/gtest.h>

namespace godwit::vmm {
namespace {

constexpr const char* kMeminfo =
    "MemTotal:       24622344 kB\n"
    "MemFree:        21000000 kB\n"
    "MemAvailable:       2048 kB\n"
    "SwapCached:            7 kB\n"
    "SwapTotal:          9999 kB\n"
    "SwapFree:           1024 kB\n";

TEST(HostMemory, WhatIsAvailableAndFreeSwapCount) {
  EXPECT_EQ(available_memory(kMeminfo).value(), 3_MiB);
}

TEST(HostMemory, AHostWithoutSwapHasWhatIsAvailable) {
  EXPECT_EQ(available_memory("MemAvailable: 1024 kB").value(), 1_MiB);
}

TEST(HostMemory, WhatCannotBeReadIsAnError) {
  for (const char* text : {"", "MemFree: 1024 kB\n", "MemAvailable:\n", "MemAvailable: kB\n",
                           "MemAvailableX: 1024 kB\n", "MemAvailable: 99999999999999999999 kB\n"}) {
    const auto available = available_memory(text);
    ASSERT_FALSE(available) << text;
    EXPECT_EQ(available.error().code, Errc::kUnsupported);
  }
}

TEST(HostMemory, ThisHostHasSome) {
  EXPECT_GT(available_memory().value(), 1_MiB);
}

}  // namespace
}  // namespace godwit::vmm
