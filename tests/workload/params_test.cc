#include "bench/workload/core/params.h"

#include <string>

#include "gtest/gtest.h"

namespace godwit::workload {
namespace {

std::string problem(const char* line) {
  Params params;
  const ParamError error = parse_params(line, params);
  if (error.what == nullptr) return "";
  return std::string(error.what) + ": " + std::string(error.text, error.length);
}

TEST(WorkloadParams, AnEmptyLineGivesTheDefaults) {
  Params params;
  EXPECT_EQ(parse_params(" \t", params).what, nullptr);
  EXPECT_EQ(params.ws_bytes, kWorkingSetAuto);
  EXPECT_EQ(params.rate, 20000U);
}

TEST(WorkloadParams, EveryKeyIsUnderstood) {
  Params p;
  ASSERT_EQ(parse_params("ws=256M rate=max pattern=zipf content=mixed fill=all seed=7 spin=1 "
                         "report=0.25 check=2 duration=1.5 sweep=9 tick_us=500 cpus=4 "
                         "tsc_khz=2596098",
                         p)
                .what,
            nullptr);
  EXPECT_EQ(p.ws_bytes, 256U << 20);
  EXPECT_EQ(p.rate, kRateMax);
  EXPECT_EQ(p.pattern, Pattern::kZipf);
  EXPECT_EQ(p.content, Content::kMixed);
  EXPECT_EQ(p.fill_bytes, kFillAll);
  EXPECT_EQ(p.seed, 7U);
  EXPECT_TRUE(p.spin);
  EXPECT_EQ(p.report_ms, 250U);
  EXPECT_EQ(p.check_ms, 2000U);
  EXPECT_EQ(p.duration_ms, 1500U);
  EXPECT_EQ(p.sweep, 9U);
  EXPECT_EQ(p.tick_us, 500U);
  EXPECT_EQ(p.cpus, 4U);
  EXPECT_EQ(p.tsc_khz, 2596098U);
}

TEST(WorkloadParams, SizesTakeSuffixesAndDoNotOverflow) {
  Params p;
  EXPECT_EQ(parse_params("ws=8192 fill=3G", p).what, nullptr);
  EXPECT_EQ(p.ws_bytes, 8192U);
  EXPECT_EQ(p.fill_bytes, uint64_t{3} << 30);
  EXPECT_EQ(problem("ws=99999999999999999999"), "bad value: ws=99999999999999999999");
  EXPECT_EQ(problem("ws=9999999999T"), "bad value: ws=9999999999T");
  EXPECT_EQ(problem("ws=1MB"), "bad value: ws=1MB");
}

TEST(WorkloadParams, WhatIsWrongIsNamed) {
  EXPECT_EQ(problem("ws=1M foo=1 rate=2"), "unknown key: foo=1");
  EXPECT_EQ(problem("quiet"), "not key=value: quiet");
  for (const char* word : {"rate=", "rate=-1", "rate=fast", "pattern=random", "content=", "spin=2",
                           "report=1.2345", "report=.5", "check=1s", "tick_us=0", "cpus=65"}) {
    EXPECT_EQ(problem(word), std::string("bad value: ") + word);
  }
}

}  // namespace
}  // namespace godwit::workload
