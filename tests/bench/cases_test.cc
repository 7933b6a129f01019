#include "bench/downtime/cases.h"

#include <set>

#include "bench/workload/core/params.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace godwit::bench {
namespace {

std::vector<Case> every_case() {
  std::vector<Case> cases = all_cases();
  for (const Case& c : quick_cases()) cases.push_back(c);
  return cases;
}

TEST(Cases, NamesAreUnique) {
  std::set<std::string> names;
  for (const Case& c : every_case()) EXPECT_TRUE(names.insert(c.name).second) << c.name;
}

TEST(Cases, TheGuestUnderstandsEveryCommandLine) {
  for (const Case& c : every_case()) {
    workload::Params params;
    const char* error = workload::parse_params(c.workload.c_str(), params).what;
    EXPECT_EQ(error, nullptr) << c.name << ": " << error;
  }
}

TEST(Cases, EachHasALimitAndAChannel) {
  for (const Case& c : every_case()) {
    EXPECT_GT(c.time_limit, Nanoseconds(0)) << c.name;
    EXPECT_GE(c.channels, 1u) << c.name;
  }
}

TEST(Cases, TheIssuesCasesAreThere) {
  std::vector<std::string> names;
  for (const Case& c : all_cases()) names.push_back(c.name);
  for (const char* name :
       {"idle-random-1G/plain/1ch", "idle-random-1G/tls/2ch", "paced-1G/plain/1ch",
        "unlimited-1G/tls/1ch", "untouched-16G/plain/2ch", "idle-compress-512M/1gbit/1ch"}) {
    EXPECT_THAT(names, testing::Contains(name));
  }
}

TEST(Contestants, NamesLeadBack) {
  for (const Contestant who : {Contestant::kGodwit, Contestant::kGodwit10ms, Contestant::kQemu,
                               Contestant::kQemuDefault}) {
    EXPECT_EQ(contestant_from_name(contestant_name(who)), who);
  }
  EXPECT_FALSE(contestant_from_name("xen"));
}

}  // namespace
}  // namespace godwit::bench
