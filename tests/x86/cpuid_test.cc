#include <gtest/gtest.h>

#include "vmm/x86/cpu_models.h"
#include "vmm/x86/features.h"
#include "vmm/x86/topology.h"

namespace godwit::vmm::x86 {
namespace {

// A CPU that has every feature bit.
CpuidTable full_table(bool amd) {
  CpuidTable table;
  if (amd) {
    table.push_back({0, 0, false, 0x20, 0x68747541, 0x444d4163, 0x69746e65});
  } else {
    table.push_back({0, 0, false, 0x20, 0x756e6547, 0x6c65746e, 0x49656e69});
  }
  table.push_back({4, 3, true, 0x163, 0, 0, 0});  // a cache of level 3
  table.push_back({4, 0, true, 0x121, 0, 0, 0});  // of level 1
  table.push_back({0xa, 0, false, 0x07300802, 0, 0, 0x603});
  table.push_back({0xb, 0, true, 1, 2, 0x100, 3});
  table.push_back({0x1f, 0, true, 1, 2, 0x100, 3});
  table.push_back({0xd, 0, true, 0xe7, 2440, 2440, 0});
  table.push_back({0xd, 2, true, 256, 576, 0, 0});
  table.push_back({0xd, 5, true, 64, 832, 0, 0});
  table.push_back({0xd, 6, true, 512, 896, 0, 0});
  table.push_back({0xd, 7, true, 1024, 1408, 0, 0});
  table.push_back({0x8000001d, 3, true, 0x163, 0, 0, 0});
  table.push_back({0x8000001e, 0, false, 9, 9, 9, 9});
  for (const FeatureWord& word : feature_words()) {
    CpuidEntry* entry = find_entry(table, word.function, word.index);
    if (entry == nullptr) {
      table.push_back({word.function, word.index, true, 0, 0, 0, 0});
      entry = &table.back();
    }
    entry->set(word.which, 0xffffffff);
  }
  return table;
}

TEST(CpuModel, HostKeepsTheCpuButOffersNothingThatCannotMove) {
  CpuidTable table = full_table(false);
  EXPECT_TRUE(apply_model(table, CpuModel::kHost, true).empty());
  for (const char* kept : {"avx512f", "aes", "hypervisor", "tsc_deadline_timer", "kvm_clocksource2",
                           "spec_ctrl", "xsaves"}) {
    EXPECT_TRUE(has_feature(table, kept)) << kept;
  }
  for (const char* gone : {"vmx", "svm", "sgx", "invtsc", "pdcm", "monitor", "osxsave"}) {
    EXPECT_FALSE(has_feature(table, gone)) << gone;
  }
  EXPECT_EQ(value_of(table, 0xa, 0, Register::kEax), 0u);
  EXPECT_EQ(xcr0_of(table), 0xe7u);
}

TEST(CpuModel, DeadlineTimerIsOfferedOnlyWhereKvmHasIt) {
  CpuidTable table = full_table(false);
  find_entry(table, 1)->ecx = 0;
  apply_model(table, CpuModel::kHost, false);
  EXPECT_FALSE(has_feature(table, "tsc_deadline_timer"));
  apply_model(table, CpuModel::kHost, true);
  EXPECT_TRUE(has_feature(table, "tsc_deadline_timer"));
}

TEST(CpuModel, LevelsOfferTheirFeaturesAndNoMore) {
  CpuidTable v2 = full_table(true);
  EXPECT_TRUE(apply_model(v2, CpuModel::kX86_64_v2, true).empty());
  CpuidTable v3 = full_table(true);
  EXPECT_TRUE(apply_model(v3, CpuModel::kX86_64_v3, true).empty());
  for (const char* feature : {"sse4_2", "popcnt", "cx16", "lahf_lm", "nx", "lm"}) {
    EXPECT_TRUE(has_feature(v2, feature)) << feature;
    EXPECT_TRUE(has_feature(v3, feature)) << feature;
  }
  for (const char* feature :
       {"avx", "avx2", "bmi1", "bmi2", "fma", "f16c", "movbe", "abm", "xsave"}) {
    EXPECT_FALSE(has_feature(v2, feature)) << feature;
    EXPECT_TRUE(has_feature(v3, feature)) << feature;
  }
  for (const char* feature :
       {"avx512f", "sha_ni", "rdseed", "pku", "spec_ctrl", "xsaves", "la57"}) {
    EXPECT_FALSE(has_feature(v2, feature)) << feature;
    EXPECT_FALSE(has_feature(v3, feature)) << feature;
  }
  EXPECT_TRUE(has_feature(v2, "kvm_clocksource2"));
  EXPECT_EQ(xcr0_of(v2), 0u);
  EXPECT_EQ(xcr0_of(v3), 7u);
  EXPECT_EQ(xsave_bytes_of(v3, 7), 832u);
  EXPECT_EQ(value_of(v3, 0xd, 0, Register::kEcx), 832u);
  EXPECT_EQ(find_entry(v3, 0xd, 6), nullptr);
}

TEST(CpuModel, MissingFeaturesOfALevelAreNamed) {
  CpuidTable table = full_table(true);
  find_entry(table, 7)->ebx &= ~(1u << 5);
  find_entry(table, 1)->ecx &= ~(1u << 20);
  CpuidTable same = table;
  EXPECT_EQ(apply_model(table, CpuModel::kX86_64_v3, true),
            (std::vector<std::string>{"sse4_2", "avx2"}));
  EXPECT_EQ(apply_model(same, CpuModel::kX86_64_v2, true), (std::vector<std::string>{"sse4_2"}));
}

class TopologyTest : public testing::TestWithParam<uint32_t> {};

TEST_P(TopologyTest, EveryVcpuIsACoreOfOnePackage) {
  const uint32_t vcpus = GetParam();
  for (const bool amd : {false, true}) {
    for (uint32_t index = 0; index < vcpus; ++index) {
      CpuidTable table = full_table(amd);
      set_topology(table, index, vcpus);
      const CpuidEntry* one = find_entry(table, 1);
      EXPECT_EQ(one->ebx >> 24, index);
      EXPECT_GE(one->ebx >> 16 & 0xff, vcpus);
      EXPECT_EQ(one->edx >> 28 & 1, vcpus > 1 ? 1u : 0u);
      for (const uint32_t function : {0xbu, 0x1fu}) {
        const CpuidEntry* thread = find_entry(table, function, 0);
        const CpuidEntry* core = find_entry(table, function, 1);
        ASSERT_NE(core, nullptr);
        EXPECT_EQ(thread->ebx, 1u);
        EXPECT_EQ(thread->eax, 0u);
        EXPECT_EQ(core->ebx, vcpus);
        EXPECT_EQ(core->ecx, 0x201u);
        EXPECT_EQ(core->edx, index);
        EXPECT_EQ(index >> core->eax, 0u);  // one package
      }
      if (amd) {
        EXPECT_EQ(value_of(table, 0x8000001e, 0, Register::kEax), index);
        EXPECT_EQ(value_of(table, 0x80000008, 0, Register::kEcx) & 0xff, vcpus - 1);
        EXPECT_EQ(value_of(table, 0x8000001d, 3, Register::kEax) >> 14 & 0xfff, vcpus - 1);
      } else {
        EXPECT_EQ(value_of(table, 4, 3, Register::kEax) >> 14 & 0xfff, vcpus - 1);
        EXPECT_EQ(value_of(table, 4, 0, Register::kEax) >> 14 & 0xfff, 0u);
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Sizes, TopologyTest, testing::Values(1, 2, 3, 4, 5, 16, 33, 64));

TEST(Cpuid, VendorFromAPeerIsPrintable) {
  CpuidTable table = {{0, 0, false, 1, 0x0a0d1b07, 0x444d4163, 0x69746e65}};
  EXPECT_EQ(vendor_of(table), "????enticAMD");
}

}  // namespace
}  // namespace godwit::vmm::x86
