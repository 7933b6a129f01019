// The CPU of a host as JSON, fed with anything; what is understood can be combined with a sane one,
// and the result travels and is acceptable to both.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "tools/godwit/report/cpu_json.h"
#include "vmm/base/check.h"
#include "vmm/x86/cpu_baseline.h"

using namespace godwit;
using namespace godwit::vmm::x86;

namespace {

HostCpu sane() {
  HostCpu cpu;
  cpu.best.cpuid = {{0, 0, false, 0xd, 0x68747541, 0x444d4163, 0x69746e65},
                    {1, 0, false, 0x00a00f11, 0x800, 0xffffffff, 0xffffffff},
                    {7, 0, true, 2, 0xffffffff, 0xffffffff, 0xffffffff},
                    {0xd, 0, true, 7, 832, 832, 0},
                    {0xd, 1, true, 0xf, 0, 0x1800, 0},
                    {0xd, 2, true, 256, 576, 0, 0},
                    {0x80000000, 0, false, 0x80000021, 0, 0, 0},
                    {0x80000001, 0, false, 0x00a00f11, 0, 0xffffffff, 0xffffffff},
                    {0x80000008, 0, false, 0x3030, 0xffffffff, 0, 0}};
  cpu.best.xcr0 = 7;
  cpu.best.tsc_khz = 2'600'000;
  cpu.best.msrs = {0x48, 0x10a, 0x174, 0xda0};
  cpu.best.arch_capabilities = 0x69;
  cpu.tsc_scaling = true;
  return cpu;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  auto cpu = tools::parse_cpu(text, "fuzz.json");
  if (!cpu) return 0;
  GODWIT_CHECK(decode_profile(encode_profile(cpu->best)).has_value(), "it does not travel");
  cpu->tsc_scaling = true;
  const auto both = common_cpu(sane(), *cpu);
  if (!both) return 0;
  GODWIT_CHECK(decode_profile(encode_profile(both->best)).has_value(), "it does not travel");
  GODWIT_CHECK(differences(both->best, *cpu).empty(), "it is not acceptable to the one");
  GODWIT_CHECK(differences(both->best, sane()).empty(), "it is not acceptable to the other");
  GODWIT_CHECK(*both == common_cpu(*cpu, sane()).value(), "the order matters");
  return 0;
}
