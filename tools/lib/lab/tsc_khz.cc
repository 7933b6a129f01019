// Prints the frequency of this machine's TSC in kHz, measured against CLOCK_MONOTONIC_RAW: the
// kernel tells it nowhere in a form that is there on every machine.
#include <x86intrin.h>

#include <cstdint>
#include <cstdio>
#include <ctime>

namespace {

constexpr int64_t kSecond = 1'000'000'000;
constexpr int kAttempts = 200;

int64_t now_ns() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC_RAW, &now);
  return now.tv_sec * kSecond + now.tv_nsec;
}

struct Reading {
  int64_t ns;
  uint64_t tsc;
};

// The attempt that was interrupted least: its TSC lies closest to its time.
Reading read_both() {
  Reading best{};
  uint64_t least = UINT64_MAX;
  for (int i = 0; i < kAttempts; ++i) {
    const uint64_t before = __rdtsc();
    const int64_t ns = now_ns();
    const uint64_t after = __rdtsc();
    if (after - before >= least) continue;
    least = after - before;
    best = {ns, before + least / 2};
  }
  return best;
}

}  // namespace

int main() {
  const Reading begin = read_both();
  const timespec pause{0, kSecond / 2};
  nanosleep(&pause, nullptr);
  const Reading end = read_both();
  const double khz =
      static_cast<double>(end.tsc - begin.tsc) * 1e6 / static_cast<double>(end.ns - begin.ns);
  std::printf("%.0f\n", khz);
}
