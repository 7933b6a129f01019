#include "vmm/host_report.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "tests/kvm/require_kvm.h"

namespace godwit::vmm {
namespace {

const HostCheck* find(const HostReport& report, std::string_view name) {
  const auto found = std::find_if(report.checks.begin(), report.checks.end(),
                                  [&](const HostCheck& check) { return check.name == name; });
  return found == report.checks.end() ? nullptr : &*found;
}

TEST(HostReport, IsUsableExactlyWhenNoRequiredCheckFails) {
  HostReport report;
  EXPECT_FALSE(report.usable());
  report.checks.push_back({"a", true, true, "", ""});
  report.checks.push_back({"b", false, false, "", "do"});
  EXPECT_TRUE(report.usable());
  report.checks.push_back({"c", false, true, "", "do"});
  EXPECT_FALSE(report.usable());
}

TEST(HostReport, EveryCheckThatFailsSaysWhatToDo) {
  const HostReport report = probe_host();
  std::set<std::string> names;
  for (const HostCheck& check : report.checks) {
    EXPECT_TRUE(names.insert(check.name).second) << check.name << " twice";
    EXPECT_FALSE(check.detail.empty()) << check.name;
    EXPECT_EQ(check.ok, check.advice.empty()) << check.name;
  }
}

TEST(HostReport, HostOnWhichTheOtherTestsRunIsUsable) {
  GODWIT_REQUIRE_KVM();
  const HostReport report = probe_host();
  EXPECT_TRUE(report.usable());
  for (const char* name : {"kvm", "vcpus", "irqchip", "tsc-frequency", "tsc-offset", "xcr0",
                           "dirty-ring", "userfaultfd", "hugepages-2M"}) {
    EXPECT_NE(find(report, name), nullptr) << name;
  }
}

TEST(KvmSystem, MissingDeviceAndOtherFilesAreErrorsThatSayWhatToDo) {
  const auto missing = KvmSystem::open("/nonexistent/kvm");
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, Errc::kUnsupported);
  EXPECT_NE(missing.error().message.find("firmware"), std::string::npos);
  const auto other = KvmSystem::open("/dev/null");
  ASSERT_FALSE(other);
  EXPECT_EQ(other.error().code, Errc::kUnsupported);
}

}  // namespace
}  // namespace godwit::vmm
