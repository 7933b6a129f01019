// The workload guest's command line. Freestanding: compiled for the guest and, for its tests, for
// the host.
#pragma once
#include <stddef.h>
#include <stdint.h>

namespace godwit::workload {

enum class Pattern : uint8_t { kSequential, kUniform, kZipf };
enum class Content : uint8_t { kZero, kCompress, kRandom, kMixed };

inline constexpr uint64_t kFillAll = ~uint64_t{0};
inline constexpr uint64_t kRateMax = ~uint64_t{0};
inline constexpr uint64_t kWorkingSetAuto = ~uint64_t{0};

struct Params {
  uint64_t ws_bytes = kWorkingSetAuto;  // auto: 256 MiB or half of the free memory, if that is less
  uint64_t rate = 20000;                // pages per second, all vCPUs together; 0 idle; kRateMax
  Pattern pattern = Pattern::kUniform;
  Content content = Content::kRandom;
  uint64_t fill_bytes = 0;  // filled once at the start; kFillAll: all memory that is left
  uint64_t seed = 1;
  bool spin = false;          // read the TSC all the time, never halt
  uint64_t report_ms = 1000;  // 0 never
  uint64_t check_ms = 0;      // full check in the background; 0 never
  uint64_t duration_ms = 0;   // then final check and exit; 0 for ever
  uint64_t sweep = 1000;      // pages per second and vCPU that the continuous check reads; 0 none
  uint64_t tick_us = 10000;   // longest halt: how often an idle vCPU wakes
  uint64_t cpus = 0;          // vCPUs to wait for; 0: those that show up in time
  uint64_t tsc_khz = 0;       // 0: found out
};

// What is wrong with a command line. `text` points into it and is not NUL-terminated.
struct ParamError {
  const char* what = nullptr;  // nullptr: nothing
  const char* text = nullptr;
  size_t length = 0;
};

// Parses blank-separated key=value words into `params`; README.md lists them. An unknown key, a
// word without '=' or a value out of its range ends parsing with an error that names the word.
ParamError parse_params(const char* line, Params& params);

const char* pattern_name(Pattern pattern);
const char* content_name(Content content);

}  // namespace godwit::workload
