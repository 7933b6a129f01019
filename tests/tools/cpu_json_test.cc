#include "tools/godwit/report/cpu_json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <fstream>
#include <random>

#include "tests/tools/temp_dir.h"
#include "tests/x86/synthetic_cpu.h"
#include "tools/godwit/report/baseline.h"
#include "tools/godwit/text/json_text.h"
#include "vmm/x86/cpu_baseline.h"

namespace godwit::tools {
namespace {

namespace json = boost::json;
namespace x86 = vmm::x86;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::string text_of(const x86::HostCpu& cpu) {
  return to_text(json::object{{"cpu", to_json(cpu)}});
}

x86::HostCpu sample(uint64_t seed = 1) {
  return x86::canonical(x86::SyntheticCpus(seed).next(true));
}

// The sample's "cpu" with a field replaced.
std::string altered(const std::string& pointer, const json::value& value) {
  json::value document = json::parse(text_of(sample()));
  document.at_pointer("/cpu" + pointer) = value;
  return to_text(document);
}

TEST(CpuJson, RoundTripKeepsTheCpu) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    const x86::HostCpu before = sample(seed);
    const auto after = parse_cpu(text_of(before), "host.json");
    ASSERT_TRUE(after) << after.error().message;
    EXPECT_EQ(*after, before);
  }
}

TEST(CpuJson, TruncatedAtAnyByteIsRejectedWithTheNameOfTheFile) {
  const std::string text = text_of(sample());
  for (size_t n = 0; n < text.size(); n += 7) {
    const auto cpu = parse_cpu(text.substr(0, n), "host.json");
    ASSERT_FALSE(cpu) << n;
    EXPECT_THAT(cpu.error().message, AllOf(HasSubstr("host.json"), HasSubstr("godwit check")));
  }
}

TEST(CpuJson, AlteredBytesAreRejectedOrDecodeToSomethingThatCanBeCombined) {
  const x86::HostCpu cpu = sample();
  const std::string good = text_of(cpu);
  std::mt19937_64 random(7);
  for (size_t i = 0; i < good.size(); ++i) {
    std::string bad = good;
    bad[i] = static_cast<char>(bad[i] ^ static_cast<char>(random() % 127 + 1));
    const auto other = parse_cpu(bad, "host.json");
    if (!other) continue;
    ASSERT_TRUE(x86::decode_profile(x86::encode_profile(other->best))) << bad;
    const auto both = x86::common_cpu(cpu, *other);
    if (!both) continue;
    ASSERT_TRUE(x86::decode_profile(x86::encode_profile(both->best))) << bad;
  }
}

TEST(CpuJson, EachErrorNamesTheFileAndTheField) {
  const struct {
    std::string text;
    const char* named;
  } kBad[] = {
      {"[]", "object"},
      {R"({"usable": false, "checks": []})", "there is no \"cpu\""},
      {R"({"cpu": 7})", "\"cpu\" is no object"},
      {R"({"cpu": {}})", "cpu.format is missing"},
      {altered("/format", 2), "cpu.format is 2, this godwit knows 1"},
      {altered("/format", "1"), "cpu.format"},
      {altered("/vendor", "GenuineIntel"), "cpu.vendor is not \"AuthenticAMD\""},
      {altered("/xcr0", "0x70000000000"), "cpu.xcr0"},
      {altered("/xsave-bytes", 1u << 20), "cpu.xsave-bytes"},
      {altered("/tsc-khz", 0), "cpu.tsc-khz"},
      {altered("/tsc-khz", -1), "cpu.tsc-khz"},
      {altered("/tsc-scaling", 1), "cpu.tsc-scaling"},
      {altered("/msrs/1", "174"), "cpu.msrs[1]"},
      {altered("/msrs/1", "0x100000000"), "cpu.msrs[1]"},
      {altered("/msrs", json::array(2000, "0x1")), "cpu.msrs"},
      {altered("/msrs", json::array(2, "0x1")), "cpu.msrs[1] 0x1 is there already"},
      {altered("/cpuid", json::array(300)), "cpu.cpuid is no array of at most"},
      {altered("/cpuid", json::array()), "cpu.cpuid lacks leaf 0x0"},
      {altered("/cpuid/2", json::array()), "cpu.cpuid[2] is no object"},
      {altered("/cpuid/2/eax", "0x1ffffffff"), "cpu.cpuid[2].eax"},
      {altered("/cpuid/1/leaf", "0x0"), "cpu.cpuid[1].leaf 0x0 is there already"},
  };
  for (const auto& [text, named] : kBad) {
    const auto cpu = parse_cpu(text, "host.json");
    ASSERT_FALSE(cpu) << named;
    EXPECT_THAT(cpu.error().message, AllOf(HasSubstr("host.json: "), HasSubstr(named)));
  }
}

TEST(CpuJson, FileThatIsTooLargeOrMissingIsNamed) {
  TempDir temp;
  const std::string path = (temp / "host.json").string();
  EXPECT_THAT(read_cpu_file(path).error().message, HasSubstr(path));
  std::ofstream(path) << std::string(kMaxCpuFileBytes + 1, ' ');
  EXPECT_THAT(read_cpu_file(path).error().message, AllOf(HasSubstr(path), HasSubstr("more than")));
  EXPECT_FALSE(read_cpu_file(temp.path().string()));
}

class BaselineReport : public testing::Test {
 protected:
  BaselineReport() {
    cpu.best.cpuid = {{0, 0, false, 7, 0x68747541, 0x444d4163, 0x69746e65},
                      {1, 0, false, 0x00a00f11, 0x800, 0x80202001, 0x078bfbff},
                      {7, 0, true, 0, 0x40240, 0, 0},  // fdp_excptn_only, erms, rdseed
                      {0x80000000, 0, false, 0x80000008, 0, 0, 0},
                      {0x80000008, 0, false, 0x3030, 0, 0, 0}};
    cpu.best.tsc_khz = 2'600'000;
    cpu.best.msrs = {0x174};
  }
  x86::HostCpu cpu;
};

TEST_F(BaselineReport, SaysWhatIsLeftOutAndByWhoseLack) {
  x86::HostCpu b = cpu, c = cpu;
  x86::find_entry(b.best.cpuid, 7)->ebx = 0x40;
  x86::find_entry(c.best.cpuid, 7)->ebx = 0x240;
  x86::find_entry(c.best.cpuid, 0x80000008)->eax = 0x302e;
  const NamedCpu hosts[] = {{"a.json", cpu}, {"b.json", b}, {"c.json", c}};
  const auto baseline = make_baseline(hosts);
  ASSERT_TRUE(baseline);
  EXPECT_EQ(format_left_out(*baseline),
            "a.json: erms is left out: b.json lacks it\n"
            "a.json: rdseed is left out: b.json, c.json lack it\n"
            "a.json: addressing beyond 46 physical bits is left out: c.json lacks it\n"
            "b.json: addressing beyond 46 physical bits is left out: c.json lacks it\n"
            "c.json: erms is left out: b.json lacks it\n");
  EXPECT_THAT(baseline->warnings, IsEmpty());
}

TEST_F(BaselineReport, WarnsOfTscFrequenciesOutOfReach) {
  x86::HostCpu b = cpu;
  b.best.tsc_khz += 1000;
  const NamedCpu hosts[] = {{"a.json", cpu}, {"b.json", b}};
  EXPECT_THAT(make_baseline(hosts)->warnings,
              ElementsAre(AllOf(HasSubstr("b.json"), HasSubstr("384 ppm"))));
  b.tsc_scaling = true;
  const NamedCpu scaling[] = {{"a.json", cpu}, {"b.json", b}};
  EXPECT_THAT(make_baseline(scaling)->warnings, IsEmpty());
}

TEST_F(BaselineReport, VendorsThatDifferAreNamedWithTheirFiles) {
  x86::HostCpu b = cpu;
  b.best.cpuid.front() = {0, 0, false, 7, 0x756e6547, 0x6c65746e, 0x49656e69};
  const NamedCpu hosts[] = {{"a.json", cpu}, {"b.json", b}};
  const auto baseline = make_baseline(hosts);
  ASSERT_FALSE(baseline);
  EXPECT_THAT(baseline.error().message, AllOf(HasSubstr("a.json has \"AuthenticAMD\""),
                                              HasSubstr("b.json has \"GenuineIntel\"")));
}

TEST_F(BaselineReport, JsonIsABaselineFileToo) {
  const NamedCpu hosts[] = {{"a.json", cpu}, {"b.json", cpu}};
  const auto baseline = make_baseline(hosts);
  const auto back = parse_cpu(to_text(to_json(*baseline)), "group.json");
  ASSERT_TRUE(back) << back.error().message;
  EXPECT_EQ(*back, x86::canonical(cpu));
}

}  // namespace
}  // namespace godwit::tools
