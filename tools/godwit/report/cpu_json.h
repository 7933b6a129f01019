// A CPU as JSON: what `godwit check --json` says of a host's, and what a baseline file holds.
#pragma once
#include <boost/json/fwd.hpp>
#include <string>
#include <string_view>

#include "vmm/base/error.h"
#include "vmm/x86/cpu_profile.h"

namespace godwit::tools {

// Raised when a reader of the old form would misunderstand the new one.
inline constexpr uint32_t kCpuFormat = 1;
inline constexpr size_t kMaxCpuFileBytes = 1 << 20;

// {"format": 1,
//  "vendor": "AuthenticAMD", "family": 25, "model": 33, "stepping": 0,
//  "physical-address-bits": 48, "features": ["cx16", ...],     these follow from "cpuid"
//  "xcr0": "0xe7", "xsave-bytes": 4096,                        state as KVM saves it
//  "arch-capabilities": "0x69",                                only where CPUID offers it
//  "tsc-khz": 2596098, "tsc-scaling": false, "tsc-offset": true,
//  "msrs": ["0x174", ...],                                     that KVM saves
//  "cpuid": [{"leaf": "0x7", "subleaf": 0, "eax": "0x0", "ebx": "0x0", "ecx": "0x0", "edx":
//  "0x0"}]}
// "subleaf" stands only where it matters; a leaf that is not there is all zeros. Of the fields that
// follow from others, a reader checks "vendor" and "xcr0" and passes over the rest, as it does over
// fields that it does not know.
boost::json::object to_json(const vmm::x86::HostCpu& cpu);

// The "cpu" of a JSON object. Anything may be in `text`. Errors: kCorrupt, kIncompatible for
// another format; each names `file`, the field and what to do.
Result<vmm::x86::HostCpu> parse_cpu(std::string_view text, std::string_view file);
// The same from a file (or a pipe), of which no more than kMaxCpuFileBytes is read.
Result<vmm::x86::HostCpu> read_cpu_file(const std::string& path);

}  // namespace godwit::tools
