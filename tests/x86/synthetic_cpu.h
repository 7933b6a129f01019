// CPUs that no factory made, for properties that must hold for all.
#pragma once
#include <algorithm>
#include <random>

#include "vmm/x86/cpu_models.h"
#include "vmm/x86/cpu_profile.h"
#include "vmm/x86/features.h"
#include "vmm/x86/msrs.h"

namespace godwit::vmm::x86 {

class SyntheticCpus {
 public:
  explicit SyntheticCpus(uint64_t seed) : random_(seed) {}

  // What any of them has, most have. TSC frequencies are near enough to each other.
  HostCpu next(bool amd) {
    HostCpu host;
    add_heads(host.best.cpuid, amd);
    add_features(host.best.cpuid);
    add_state(host.best.cpuid);
    add_descriptions(host.best.cpuid);
    std::shuffle(host.best.cpuid.begin(), host.best.cpuid.end(), random_);
    add_msrs(host.best.msrs);
    if (likely()) host.best.arch_capabilities = bits() | uint64_t{bits()} << 32;
    host.best.xcr0 = xcr0_of(host.best.cpuid);
    host.best.xsave_bytes =
        std::max(4096u, xsave_bytes_of(host.best.cpuid, ~uint64_t{0})) + below(2) * 64;
    host.best.tsc_khz = 2'600'000 + below(3) * 100;
    host.best.tsc_offset = likely();
    host.tsc_scaling = below(2) != 0;
    return host;
  }
  uint32_t below(uint32_t n) { return static_cast<uint32_t>(random_() % n); }

 private:
  bool likely() { return below(8) != 0; }
  uint32_t bits() {
    uint32_t value = 0;
    for (unsigned bit = 0; bit < 32; ++bit) value |= uint32_t{likely()} << bit;
    return value;
  }

  void add_heads(CpuidTable& table, bool amd) {
    const uint32_t largest = 0xd + below(20);
    if (amd) {
      table.push_back({0, 0, false, largest, 0x68747541, 0x444d4163, 0x69746e65});
    } else {
      table.push_back({0, 0, false, largest, 0x756e6547, 0x6c65746e, 0x49656e69});
    }
    table.push_back({0x40000000, 0, false, 0x40000001, 0x4b4d564b, 0x564b4d56, 0x4d});
    table.push_back({0x80000000, 0, false, 0x80000008 + below(0x1a), 0, 0, 0});
  }

  void add_features(CpuidTable& table) {
    for (const FeatureWord& word : feature_words()) {
      if (find_entry(table, word.function, word.index) == nullptr) {
        table.push_back({word.function, word.index, word.function == 7 || word.function == 0xd});
      }
      find_entry(table, word.function, word.index)->set(word.which, bits());
    }
    find_entry(table, 1)->eax = (below(2) != 0 ? 0xa00f10u : 0x800f10u) | below(3);
    find_entry(table, 1)->ebx = 0x800 | below(8) << 24;
    find_entry(table, 7)->eax = below(3);
    find_entry(table, 0x80000008)->eax =
        (40 + below(12)) | (below(2) != 0 ? 48u : 57u) << 8 | below(2) * 46 << 16;
  }

  // Component n has the same place on most.
  void add_state(CpuidTable& table) {
    table.push_back({0xd, 0, true, bits() & 0x602ff, 0, 0, 0});
    find_entry(table, 0xd, 1)->ecx = bits() & 0x1900;
    for (uint32_t n = 2; n < 19; ++n) {
      const bool supervisor = n == 8 || n == 11 || n == 12;
      if (!likely()) continue;
      const uint32_t moved = likely() ? 0 : 64;
      table.push_back({0xd, n, true, 64, supervisor ? 0 : 576 + 64 * n + moved, supervisor, 0});
    }
  }

  void add_descriptions(CpuidTable& table) {
    for (uint32_t level = 0; level < 4; ++level) {
      table.push_back({4, level, true, level == 3 ? 0 : 0x121 + level, below(2), 63 + below(2), 0});
      table.push_back({0x8000001d, level, true, 0x121 + level, 63, below(2), 0});
    }
    for (uint32_t function : {0x2u, 0x15u, 0x80000006u, 0x8000001eu, 0x80000002u, 0x80000003u,
                              0x80000004u, 0x12345u, 0xc0000001u}) {
      if (likely()) table.push_back({function, 0, false, 5 + below(2), 0, 7, 0});
    }
    for (uint32_t function : {0xbu, 0x1fu}) table.push_back({function, 0, true, 1, 2, 0, below(9)});
  }

  void add_msrs(std::vector<uint32_t>& msrs) {
    for (const FeatureMsr& msr : feature_msrs()) {
      if (likely()) msrs.push_back(msr.index);
    }
    for (const uint32_t msr : {0x122u, 0x174u, 0x277u, 0xda0u, 0xc0000102u}) {
      if (likely()) msrs.push_back(msr);
    }
    std::shuffle(msrs.begin(), msrs.end(), random_);
  }

  std::mt19937_64 random_;
};

}  // namespace godwit::vmm::x86
