// Saving a guest and going on with it in another machine.
#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <random>

#include "tests/kvm/require_kvm.h"
#include "tests/kvm/test_guest.h"
#include "vmm/state/sections.h"
#include "vmm/x86/clock.h"
#include "vmm/x86/features.h"

namespace godwit::vmm::test {
namespace {

uint64_t chain(uint64_t hash, uint64_t from, uint64_t to) {
  for (uint64_t i = from + 1; i <= to; ++i) hash = hash * 31 + i;
  return hash;
}

VmConfig config_for(Vm& source) {
  VmConfig config = small_config();
  const MachineDescription description = source.describe();
  config.memory.size = description.memory_size;
  config.vcpus = description.vcpus;
  config.cpu = description.cpu;
  return config;
}

// A paused guest with a running counter and its state.
class StateTest : public testing::Test {
 protected:
  void SetUp() override { GODWIT_REQUIRE_KVM(); }

  void run_counter(TestGuest& guest) {
    guest.start(g_counter, {.rbx = kData});
    guest.vm().resume();
    ASSERT_TRUE(guest.wait_until(kData, 100000));
    guest.vm().pause();
  }

  // The guest stores count and hash one after the other: it may be stopped between the two.
  static void expect_chain_is_exact(TestGuest& guest) {
    const uint64_t count = guest.read64(kData);
    const uint64_t hash = guest.read64(kData + 8);
    const bool both = hash == chain(0, 0, count);
    const bool between = hash == chain(0, 0, count - 1);
    EXPECT_TRUE(both || between) << "count " << count;
  }
};

TEST_F(StateTest, CounterGoesOnExactlyInAnotherMachine) {
  TestGuest source;
  run_counter(source);
  const uint64_t before = source.read64(kData);
  const auto state = source.save();
  TestGuest target(config_for(source.vm()));
  copy_memory(source, target);
  ASSERT_TRUE(target.vm().load(state, std::nullopt))
      << target.vm().load(state, std::nullopt).error().message;
  target.vm().resume();
  ASSERT_TRUE(target.wait_until(kData, before + 100000));
  target.vm().pause();
  expect_chain_is_exact(target);
  EXPECT_TRUE(target.exceptions().empty());
}

TEST_F(StateTest, ThereAndBackManyTimes) {
  auto here = std::make_unique<TestGuest>();
  run_counter(*here);
  for (int trip = 0; trip < 20; ++trip) {
    const uint64_t before = here->read64(kData);
    auto there = std::make_unique<TestGuest>(config_for(here->vm()));
    copy_memory(*here, *there);
    const auto loaded = there->vm().load(here->save(), std::nullopt);
    ASSERT_TRUE(loaded) << loaded.error().message;
    ASSERT_EQ(there->vm().describe().cpu, here->vm().describe().cpu);
    there->vm().resume();
    ASSERT_TRUE(there->wait_until(kData, before + 1000));
    there->vm().pause();
    here = std::move(there);
  }
  expect_chain_is_exact(*here);
}

TEST_F(StateTest, AvxRegistersGoOnExactly) {
  TestGuest source;
  if (!__builtin_cpu_supports("avx2")) GTEST_SKIP() << "this host has no AVX2";
  // A KVM that runs ring 3 on the bare CPU offers no XSAVE to ring 0, but AVX works in ring 3.
  const bool offered = x86::has_feature(x86::supported_cpuid(*KvmSystem::open()), "xsave");
  constexpr uint64_t kInput = kData + 0x1000;
  for (uint64_t i = 0; i < 4; ++i) {
    source.write64(kInput + i * 8, 1000 + i);
    source.write64(kInput + 32 + i * 8, i + 1);
  }
  source.start(g_avx_counter, {.xcr0 = offered ? 7u : 0u, .rbx = kData, .rsi = kInput});
  source.vm().resume();
  while (source.read64(kData) < 100000) {
    if (!source.exceptions().empty()) {
      GTEST_SKIP() << "AVX cannot be used in a guest here: " << source.exceptions().front();
    }
  }
  source.vm().pause();
  const uint64_t before = source.read64(kData);
  TestGuest target(config_for(source.vm()));
  copy_memory(source, target);
  const auto loaded = target.vm().load(source.save(), std::nullopt);
  ASSERT_TRUE(loaded) << loaded.error().message;
  target.vm().resume();
  ASSERT_TRUE(target.wait_until(kData, before + 100000));
  target.vm().pause();
  const uint64_t count = target.read64(kData);
  for (uint64_t i = 0; i < 4; ++i) {
    const uint64_t lane = target.read64(kData + 64 + i * 8);
    const uint64_t now = 1000 + i + count * (i + 1);
    EXPECT_TRUE(lane == now || lane == now - (i + 1)) << "lane " << i;
  }
}

// The state of `from`, with its clock as a host would have saved it whose wall clock is `ahead` of
// ours and whose monotonic clock is `behind` ours.
std::vector<std::byte> saved_elsewhere(TestGuest& from, std::chrono::seconds ahead,
                                       std::chrono::seconds behind, x86::ClockState& clock) {
  ByteWriter out;
  for (StateSection section : read_sections(from.save()).value()) {
    if (section.type == x86::kClockSection) {
      x86::decode(section.payload, clock).value();
      x86::ClockState there = clock;
      there.realtime_ns += static_cast<uint64_t>(Nanoseconds(ahead).count());
      there.monotonic_ns -= Nanoseconds(behind).count();
      ByteWriter payload;
      x86::encode(there, payload);
      const auto bytes = payload.take();
      section.payload.assign(bytes.begin(), bytes.end());
    }
    write_section(section, out);
  }
  return out.take();
}

TEST_F(StateTest, GuestTimeGoesOnAcrossHostsWhoseClocksDisagree) {
  TestGuest source;
  run_counter(source);
  x86::ClockState saved;
  const std::chrono::seconds ahead(7);
  const std::chrono::seconds behind(5000);
  const auto state = saved_elsewhere(source, ahead, behind, saved);
  ASSERT_NE(saved.clock_ns, 0u);
  TestGuest target(config_for(source.vm()));
  const auto loaded = target.vm().load(state, behind);
  ASSERT_TRUE(loaded) << loaded.error().message;
  x86::ClockState now;
  saved_elsewhere(target, {}, {}, now);
  // kvmclock has gone on as the host's monotonic clock has; a second would be a wall clock's doing.
  const auto guest = static_cast<int64_t>(now.clock_ns - saved.clock_ns);
  const int64_t host = now.monotonic_ns - saved.monotonic_ns;
  EXPECT_GE(guest, 0);
  EXPECT_LT(std::abs(guest - host), Nanoseconds(std::chrono::milliseconds(500)).count());
}

TEST_F(StateTest, TimeStampCounterGoesOnAndNeverBack) {
  auto here = std::make_unique<TestGuest>();
  here->start(g_tsc, {.rbx = kData});
  here->vm().resume();
  for (int trip = 0; trip < 5; ++trip) {
    ASSERT_TRUE(here->wait_until(kData + 16, here->read64(kData + 16) + 1000));
    here->vm().pause();
    const uint64_t before = here->read64(kData);
    auto there = std::make_unique<TestGuest>(config_for(here->vm()));
    copy_memory(*here, *there);
    const auto loaded = there->vm().load(here->save(), std::nullopt);
    ASSERT_TRUE(loaded) << loaded.error().message;
    there->vm().resume();
    ASSERT_TRUE(there->wait_until(kData + 16, there->read64(kData + 16) + 1000));
    EXPECT_EQ(there->read64(kData + 8), 0u) << "trip " << trip;
    // Nor far ahead: an hour at 10 GHz is more than any test takes.
    EXPECT_LT(there->read64(kData) - before, uint64_t{3600} * 10'000'000'000u);
    here = std::move(there);
  }
}

TEST_F(StateTest, PortAccessInFlightIsNeitherLostNorRepeated) {
  auto here = std::make_unique<TestGuest>();
  here->start(g_port_counter, {.rbx = kData});
  here->vm().resume();
  for (int trip = 0; trip < 30; ++trip) {
    ASSERT_TRUE(here->wait_until(kData, here->read64(kData) + 10));
    here->vm().pause();
    auto there = std::make_unique<TestGuest>(config_for(here->vm()));
    copy_memory(*here, *there);
    there->port().continue_after(here->port());
    const auto loaded = there->vm().load(here->save(), std::nullopt);
    ASSERT_TRUE(loaded) << loaded.error().message;
    there->vm().resume();
    here = std::move(there);
  }
  ASSERT_TRUE(here->wait_until(kData, here->read64(kData) + 10));
  EXPECT_EQ(here->read64(kData + 8), 0u);
}

TEST_F(StateTest, LastOfSeveralLoadsCounts) {
  TestGuest source;
  run_counter(source);
  const auto early = source.save();
  const uint64_t early_count = source.read64(kData);
  source.vm().resume();
  ASSERT_TRUE(source.wait_until(kData, early_count + 100000));
  source.vm().pause();
  const uint64_t before = source.read64(kData);
  const auto late = source.save();
  TestGuest target(config_for(source.vm()));
  copy_memory(source, target);
  ASSERT_TRUE(target.vm().load(early, std::nullopt));
  ASSERT_TRUE(target.vm().load(late, std::nullopt));
  ASSERT_TRUE(target.vm().load(late, std::nullopt));
  target.vm().resume();
  ASSERT_TRUE(target.wait_until(kData, before + 1000));
  target.vm().pause();
  expect_chain_is_exact(target);
}

TEST_F(StateTest, StateReadBackIsTheStateThatWasLoaded) {
  TestGuest source;
  run_counter(source);
  const auto sent = read_sections(source.save()).value();
  TestGuest target(config_for(source.vm()));
  copy_memory(source, target);
  ASSERT_TRUE(target.vm().load(source.save(), std::nullopt));
  const auto back = read_sections(target.save()).value();
  ASSERT_EQ(sent.size(), back.size());
  for (size_t i = 0; i < sent.size(); ++i) {
    EXPECT_EQ(sent[i].type, back[i].type);
    ASSERT_EQ(sent[i].payload.size(), back[i].payload.size());
    if (sent[i].type != "x86-vcpu") continue;  // the others contain the time
    // Everything before the TSC, its offset and its deadline.
    const size_t stable = sent[i].payload.size() - 24;
    size_t differing = 0;
    for (size_t b = 0; b < stable; ++b) differing += sent[i].payload[b] != back[i].payload[b];
    EXPECT_EQ(differing, 0u);
  }
}

TEST_F(StateTest, FourVcpusGoOnInAnotherMachine) {
  VmConfig config = small_config();
  config.vcpus = 4;
  TestGuest source(config);
  source.start(g_start_aps, {.rcx = 3});
  source.vm().resume();
  ASSERT_TRUE(source.done().wait_for_writes(1)) << testing::PrintToString(source.exceptions());
  source.vm().pause();
  TestGuest target(config_for(source.vm()));
  copy_memory(source, target);
  const auto loaded = target.vm().load(source.save(), std::nullopt);
  ASSERT_TRUE(loaded) << loaded.error().message;
  uint64_t before[4];
  for (uint64_t cpu = 0; cpu < 4; ++cpu) before[cpu] = target.read64(kBox + 0x200 + cpu * 64);
  target.vm().resume();
  for (uint64_t cpu = 0; cpu < 4; ++cpu) {
    EXPECT_TRUE(target.wait_until(kBox + 0x200 + cpu * 64, before[cpu] + 1000)) << "vCPU " << cpu;
  }
}

TEST_F(StateTest, VcpusThatStillWaitForSipiAreStartedInTheOtherMachine) {
  VmConfig config = small_config();
  config.vcpus = 2;
  TestGuest source(config);
  source.start(g_start_aps, {.rcx = 1});
  const auto state = source.save();  // before anything ran
  TestGuest target(config_for(source.vm()));
  copy_memory(source, target);
  const auto loaded = target.vm().load(state, std::nullopt);
  ASSERT_TRUE(loaded) << loaded.error().message;
  target.vm().resume();
  ASSERT_TRUE(target.done().wait_for_writes(1)) << testing::PrintToString(target.exceptions());
  EXPECT_TRUE(target.wait_until(kBox + 0x240, 1000));
}

TEST_F(StateTest, TruncatedStateIsRejected) {
  TestGuest source;
  run_counter(source);
  const auto state = source.save();
  TestGuest target(config_for(source.vm()));
  // Whole sections may be missing, or parts of one.
  for (size_t n = 0; n < state.size(); n += 1 + n / 64) {
    EXPECT_FALSE(target.vm().load(std::span(state).first(n), std::nullopt)) << n;
  }
  EXPECT_FALSE(target.vm().load(std::span(state).first(state.size() - 1), std::nullopt));
  EXPECT_TRUE(target.vm().load(state, std::nullopt));
}

TEST_F(StateTest, PayloadCutAtEveryByteIsRejectedThoughItsChecksumIsRight) {
  TestGuest source;
  run_counter(source);
  const auto sections = read_sections(source.save()).value();
  TestGuest target(config_for(source.vm()));
  for (size_t victim = 0; victim < sections.size(); ++victim) {
    const size_t whole = sections[victim].payload.size();
    const size_t step = whole > 1000 ? 37 : 1;
    for (size_t n = 0; n < whole; n += step) {
      auto bad = sections;
      bad[victim].payload.resize(n);
      ByteWriter out;
      for (const auto& section : bad) write_section(section, out);
      ASSERT_FALSE(target.vm().load(out.view(), std::nullopt))
          << sections[victim].type << " cut to " << n;
    }
  }
}

TEST_F(StateTest, MissingDoubledAndUnknownSectionsAreRejected) {
  TestGuest source;
  run_counter(source);
  const auto sections = read_sections(source.save()).value();
  TestGuest target(config_for(source.vm()));
  const auto load = [&](const std::vector<StateSection>& list) {
    ByteWriter out;
    for (const auto& section : list) write_section(section, out);
    return target.vm().load(out.view(), std::nullopt);
  };
  for (size_t victim = 0; victim < sections.size(); ++victim) {
    auto missing = sections;
    missing.erase(missing.begin() + static_cast<std::ptrdiff_t>(victim));
    EXPECT_FALSE(load(missing)) << sections[victim].type;
    auto doubled = sections;
    doubled.push_back(sections[victim]);
    EXPECT_FALSE(load(doubled)) << sections[victim].type;
    auto newer = sections;
    newer[victim].version = 99;
    EXPECT_FALSE(load(newer)) << sections[victim].type;
    auto other = sections;
    other[victim].instance = 7;
    EXPECT_FALSE(load(other)) << sections[victim].type;
  }
  auto more = sections;
  more.push_back({"flux-capacitor", 0, 1, false, {}});
  EXPECT_FALSE(load(more));
  more.back().type = "x86-flux-capacitor";
  EXPECT_FALSE(load(more));
  more.back().optional = true;
  EXPECT_TRUE(load(more));
}

// A peer may write a right checksum over anything. Whatever it sends is refused, or it makes a
// guest that is its own affair: this process and its other machines go on.
TEST_F(StateTest, AnyAlteredByteIsRejectedOrHarmless) {
  TestGuest source;
  run_counter(source);
  const auto sections = read_sections(source.save()).value();
  const auto good = source.save();
  uint64_t refused = 0, taken = 0;
  std::mt19937_64 random(20240607);
  for (size_t victim = 0; victim < sections.size(); ++victim) {
    TestGuest target(config_for(source.vm()));
    const size_t size = sections[victim].payload.size();
    // The extended state and the LAPIC page are opaque and large: a sample of them.
    const size_t step = size > 2000 ? 7 : 1;
    for (size_t i = random() % step; i < size; i += step) {
      auto bad = sections;
      bad[victim].payload[i] ^= std::byte(random() % 255 + 1);
      ByteWriter out;
      for (const auto& section : bad) write_section(section, out);
      (target.vm().load(out.view(), std::nullopt) ? taken : refused) += 1;
    }
    EXPECT_TRUE(target.vm().load(good, std::nullopt)) << "a good state after bad ones";
  }
  RecordProperty("refused", std::to_string(refused));
  RecordProperty("taken", std::to_string(taken));
  EXPECT_GT(refused, 0u);
}

TEST_F(StateTest, AlteredRegistersThatAreTakenDoNotHarmTheHost) {
  TestGuest source;
  run_counter(source);
  const auto sections = read_sections(source.save()).value();
  std::mt19937_64 random(4711);
  for (int round = 0; round < 40; ++round) {
    TestGuest target(config_for(source.vm()));
    copy_memory(source, target);
    auto bad = sections;
    // Run state, registers, segments, control registers, events.
    bad[0].payload[random() % 550] ^= std::byte(random() % 255 + 1);
    ByteWriter out;
    for (const auto& section : bad) write_section(section, out);
    if (!target.vm().load(out.view(), std::nullopt)) continue;
    target.vm().resume();
    ASSERT_TRUE(target.vm().wait_first_entry(kPatience));
    target.vm().pause();
  }
}

}  // namespace
}  // namespace godwit::vmm::test
