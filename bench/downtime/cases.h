// What is measured: guests, links and VMM settings.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "vmm/base/clock.h"
#include "vmm/base/types.h"

namespace godwit::bench {

enum class Link { kPlain, kTls, kShaped };
std::string_view link_name(Link link);

// A guest under load, a link and a number of channels. Every contestant runs it.
struct Case {
  std::string name;  // "idle-random-1G/tls/2ch"
  ByteCount memory;
  std::string workload;      // the guest's command line (bench/workload/README.md)
  bool writes = false;       // it has a throughput to lose
  bool preallocate = false;  // populate both sides before the migration
  bool throttle = false;     // QEMU needs auto-converge to end it
  Link link = Link::kPlain;
  unsigned channels = 1;
  Nanoseconds time_limit = std::chrono::seconds(60);
};

// A VMM with settings.
enum class Contestant { kGodwit, kGodwit10ms, kQemu, kQemuDefault };
std::string_view contestant_name(Contestant contestant);
std::optional<Contestant> contestant_from_name(std::string_view name);
bool is_qemu(Contestant contestant);
// What it means, for reports.
std::string_view contestant_settings(Contestant contestant);

std::vector<Case> all_cases();
// One tiny case, for a smoke run.
std::vector<Case> quick_cases();

}  // namespace godwit::bench
