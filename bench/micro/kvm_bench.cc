// What KVM costs a migration: harvesting dirty pages at several densities, with log and ring, and
// saving and loading the state beside memory.
#include <benchmark/benchmark.h>
#include <unistd.h>

#include "tests/kvm/test_guest.h"

namespace godwit::bench {
namespace {

using namespace godwit::vmm;
using vmm::test::kData;
using vmm::test::TestGuest;

constexpr uint64_t kRequest = 0x90000;  // g_rounds: round wanted, then round done

VmConfig config_for(DirtyTracking tracking, ByteCount memory, uint32_t vcpus = 1) {
  VmConfig config;
  config.memory.size = memory;
  config.memory.prealloc = true;
  config.vcpus = vcpus;
  config.dirty_tracking = tracking;
  return config;
}

bool usable(benchmark::State& state, const VmConfig& config) {
  if (::access("/dev/kvm", R_OK | W_OK) != 0) {
    state.SkipWithError("/dev/kvm cannot be opened");
    return false;
  }
  if (const auto vm = Vm::create(config); !vm) {
    state.SkipWithError(vm.error().message.c_str());
    return false;
  }
  return true;
}

// The guest writes `writes` random pages of a window of 512 MiB, is paused, and the harvest alone
// is timed: copying and re-arming.
void BM_Harvest(benchmark::State& state) {
  const auto tracking = static_cast<DirtyTracking>(state.range(0));
  const auto writes = static_cast<uint64_t>(state.range(1));
  const VmConfig config = config_for(tracking, 1_GiB);
  if (!usable(state, config)) return;
  constexpr uint64_t kWindowPages = 1 << 17;
  TestGuest guest(config);
  guest.start(g_rounds,
              {.rbx = kData, .rcx = writes, .rdx = kWindowPages - 1, .rdi = kRequest, .r8 = 42});
  DirtyTracker& tracker = guest.vm().dirty_tracker();
  DirtyBitmap dirty(guest.vm().memory().page_count());
  guest.vm().resume();
  tracker.start();
  uint64_t round = 0;
  uint64_t pages = 0;
  for (auto _ : state) {
    guest.write64(kRequest, ++round);
    if (!guest.wait_until(kRequest + 8, round)) {
      state.SkipWithError("the guest does not answer");
      break;
    }
    guest.vm().pause();
    dirty.clear_all();
    const TimePoint start = now();
    tracker.harvest(dirty);
    state.SetIterationTime(to_seconds(now() - start));
    pages += dirty.count();
    guest.vm().resume();
  }
  tracker.stop();
  state.counters["pages"] =
      benchmark::Counter(static_cast<double>(pages), benchmark::Counter::kAvgIterations);
  state.SetItemsProcessed(static_cast<int64_t>(pages));
}
BENCHMARK(BM_Harvest)
    ->ArgNames({"tracking", "writes"})
    ->ArgsProduct({{static_cast<int64_t>(DirtyTracking::kLog),
                    static_cast<int64_t>(DirtyTracking::kRing)},
                   {1, 16, 256, 4096, 65536}})
    ->UseManualTime()
    ->Unit(benchmark::kMicrosecond);

void BM_SaveState(benchmark::State& state) {
  const VmConfig config =
      config_for(DirtyTracking::kAuto, 64_MiB, static_cast<uint32_t>(state.range(0)));
  if (!usable(state, config)) return;
  TestGuest guest(config);
  guest.start(g_counter, {.rbx = kData});
  guest.vm().resume();
  guest.vm().pause();
  ByteWriter out;
  for (auto _ : state) {
    out.clear();
    guest.vm().save(out);
  }
  state.counters["bytes"] = static_cast<double>(out.size());
}
BENCHMARK(BM_SaveState)->ArgName("vcpus")->Arg(1)->Arg(2)->Unit(benchmark::kMicrosecond);

void BM_LoadState(benchmark::State& state) {
  const VmConfig config =
      config_for(DirtyTracking::kAuto, 64_MiB, static_cast<uint32_t>(state.range(0)));
  if (!usable(state, config)) return;
  TestGuest source(config);
  source.start(g_counter, {.rbx = kData});
  source.vm().resume();
  source.vm().pause();
  const std::vector<std::byte> saved = source.save();
  TestGuest target(config);
  for (auto _ : state) {
    if (const auto loaded = target.vm().load(saved, std::nullopt); !loaded) {
      state.SkipWithError(loaded.error().message.c_str());
      break;
    }
  }
}
BENCHMARK(BM_LoadState)->ArgName("vcpus")->Arg(1)->Arg(2)->Unit(benchmark::kMicrosecond);

// From pause() to the last vCPU out of guest code, and back into it.
void BM_PauseResume(benchmark::State& state) {
  const VmConfig config = config_for(DirtyTracking::kAuto, 64_MiB);
  if (!usable(state, config)) return;
  TestGuest guest(config);
  guest.start(g_counter, {.rbx = kData});
  guest.vm().resume();
  for (auto _ : state) {
    guest.vm().pause();
    guest.vm().resume();
    guest.vm().wait_first_entry(std::chrono::seconds(5));
  }
}
BENCHMARK(BM_PauseResume)->UseRealTime()->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace godwit::bench
