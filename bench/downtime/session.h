// A benchmark session: everything set up once, the cases run in turn.
#pragma once
#include <string>
#include <vector>

#include "bench/downtime/results.h"

namespace godwit::bench {

struct SessionOptions {
  std::string godwit;
  std::string qemu;
  std::vector<Case> cases;
  std::vector<Contestant> contestants;
  unsigned runs = 7;
  std::string command;  // how the benchmark was called
};

// Runs every case `runs` times with each contestant in turn and reports progress on stderr. A
// contestant that is missing, and a link that this host cannot make, are left out and named in the
// session's remarks. A run that fails is an error: it names case and VMM.
Result<Results> run_session(const SessionOptions& options);

}  // namespace godwit::bench
