// The option --cpu. Only for the .cc files of this folder.
#pragma once
#include <string>
#include <vector>

#include "tools/godwit/cli/options.h"
#include "vmm/vm.h"

namespace godwit::tools {

struct CpuChoice {
  vmm::CpuModel model = vmm::CpuModel::kHost;
  std::vector<std::string> without;  // features to take away
  std::string baseline;              // a file; empty: none
};

// "host", "x86-64-v3,-pcid", "baseline=FILE". Errors: kInvalidArgument, also for an unknown
// feature.
Result<CpuChoice> parse_cpu_choice(const std::string& text);
void add_cpu_option(CLI::App& command, CpuChoice& choice);
// Reads the baseline file where there is one. Errors as read_cpu_file().
Result<> apply_cpu_choice(const CpuChoice& choice, vmm::VmConfig& config);

}  // namespace godwit::tools
