// One whole migration under one VMM: two processes started, the guest moved, measured and proven
// intact, both processes gone.
#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>

#include "bench/downtime/cases.h"
#include "bench/downtime/link.h"
#include "vmm/base/error.h"

namespace godwit::bench {

struct RunFigures {
  bool converged =
      false;           // within the case's time limit; the figures below are of a move only then
  std::string remark;  // why not
  double blackout_ms = 0;     // as the VMM reports it
  double guest_gap_ms = 0;    // the largest gap that the guest saw, from just before to just after
  double setup_ms = 0;        // connecting, comparing; godwit: making the target's memory, too
  double total_ms = 0;        // the VMM's total time without its setup
  double whole_ms = 0;        // the VMM's total time, setup included
  double wall_ms = 0;         // from the command to the answer
  double throughput_mib = 0;  // guest RAM moved per second of total_ms: touched memory, MiB/s
  double brownout = 1;        // guest's writes per second while copying over those before
  double source_cpu_s = 0;    // without the vCPUs
  double target_cpu_s = 0;
  uint64_t wire_bytes = 0;  // as the VMM reports them
  uint64_t iterations = 0;
  std::map<std::string, double> ledger_ms;  // godwit's phases of the blackout
};

struct BenchSetup {
  std::string godwit = "godwit";
  std::string qemu = "qemu-system-x86_64";
  std::filesystem::path work_dir;  // exists
  std::filesystem::path kernel;    // the workload guest as a file, for QEMU
  std::filesystem::path tls_dir;   // certificates that both VMMs use
  const ShapedLink* shaped = nullptr;
};

// kCorrupt if the guest's memory was not intact afterwards; other errors when a VMM failed.
Result<RunFigures> run_case(const BenchSetup& setup, const Case& c, Contestant contestant);

}  // namespace godwit::bench
