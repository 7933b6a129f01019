// Every way to find dirty pages, to pack them and to send them, with guests of one and more vCPUs:
// not every combination, but every pair of values in one at least.
#include <array>
#include <ostream>
#include <set>
#include <tuple>

#include "tests/e2e/fixture.h"

namespace godwit::e2e {
namespace {

struct Case {
  const char* tracker;
  const char* compression;
  int channels;
  int vcpus;
  bool tls;

  [[nodiscard]] std::array<std::string, 5> values() const {
    return {tracker, compression, std::to_string(channels), std::to_string(vcpus),
            tls ? "tls" : "plain"};
  }
};

constexpr std::array<Case, 12> kCases{{{"log", "auto", 1, 1, true},
                                       {"ring", "auto", 2, 1, true},
                                       {"ring", "auto", 3, 4, false},
                                       {"ring", "auto", 4, 2, true},
                                       {"ring", "lz4", 1, 4, true},
                                       {"ring", "lz4", 2, 2, false},
                                       {"log", "lz4", 3, 1, false},
                                       {"log", "lz4", 4, 4, false},
                                       {"ring", "none", 1, 2, false},
                                       {"log", "none", 2, 4, true},
                                       {"log", "none", 3, 2, true},
                                       {"ring", "none", 4, 1, true}}};

std::string name_of(const Case& c) {
  return std::string(c.tracker) + "_" + c.compression + "_" + std::to_string(c.channels) +
         "channels_" + std::to_string(c.vcpus) + "vcpus_" + (c.tls ? "tls" : "plain");
}

// Found by GoogleTest.
void PrintTo(const Case& c, std::ostream* out) {
  *out << name_of(c);
}

class Matrix : public E2eTest, public testing::WithParamInterface<Case> {
 protected:
  void SetUp() override {
    E2eTest::SetUp();
    if (IsSkipped()) return;
    const boost::json::object checks = parse_only_object(a_.godwit({"check", "--json"}).output);
    for (const auto& check : checks.at("checks").as_array()) {
      const boost::json::object& object = check.as_object();
      const std::string name = text_at(object, "name");
      const bool ok = object.at("ok").as_bool();
      if (name == "dirty-ring" && !ok && GetParam().tracker == std::string("ring"))
        GTEST_SKIP() << "this KVM has no dirty ring";
      // "2 recommended, 1024 possible"
      const std::string detail = text_at(object, "detail");
      if (name == "vcpus" && std::stoi(detail.substr(detail.find(',') + 1)) < GetParam().vcpus)
        GTEST_SKIP() << "this KVM has no " << GetParam().vcpus << " vCPUs: " << detail;
    }
  }
};

TEST_P(Matrix, TheGuestArrivesIntact) {
  const Case& c = GetParam();
  const std::string tracker = c.tracker;
  const Arguments security = c.tls ? tls() : kPlain;
  const auto source = Guest::boot(a_, {.memory = "128M",
                                       .cpus = c.vcpus,
                                       .workload = "ws=32M rate=20000 content=mixed",
                                       .more = {"--dirty-tracking", tracker}});
  const auto target = receiver(b_, security);
  const Move move = migrate(*source, target->url(),
                            security + Arguments{"--verify", "--compression", c.compression,
                                                 "--multifd-channels", std::to_string(c.channels)});
  expect_completed(move);
  EXPECT_EQ(text_at(move.report, "dirty-tracking"), "dirty-" + tracker);
  EXPECT_EQ(number_at(move.report, "multifd-channels"), c.channels);
  EXPECT_EQ(text_at(move.report, "protocol"), c.tls ? "tls" : "plaintext");
  const double packed = number_at(object_at(move.report, "compression"), "pages");
  if (c.compression == std::string("none")) {
    EXPECT_EQ(packed, 0);
  } else if (c.compression == std::string("lz4")) {
    EXPECT_GT(packed, 1000);
  }
  EXPECT_EQ(source->exit_status(), kDone) << source->process().errors();
  EXPECT_EQ(number_at(b_.info(target->name()), "vcpus"), c.vcpus);
  target->expect_intact();
  target->expect_good_end();
}

INSTANTIATE_TEST_SUITE_P(Pairs, Matrix, testing::ValuesIn(kCases),
                         [](const auto& tested) { return name_of(tested.param); });

TEST(MatrixOfMoves, HasEachPairOfValues) {
  const std::array<std::set<std::string>, 5> all{{{"log", "ring"},
                                                  {"auto", "none", "lz4"},
                                                  {"1", "2", "3", "4"},
                                                  {"1", "2", "4"},
                                                  {"plain", "tls"}}};
  std::set<std::tuple<size_t, size_t, std::string, std::string>> covered;
  for (const Case& c : kCases)
    for (size_t i = 0; i < all.size(); ++i)
      for (size_t j = 0; j < i; ++j) covered.emplace(i, j, c.values()[i], c.values()[j]);
  std::string missing;
  for (size_t i = 0; i < all.size(); ++i)
    for (size_t j = 0; j < i; ++j)
      for (const std::string& x : all[i])
        for (const std::string& y : all[j])
          if (!covered.contains({i, j, x, y})) missing += x + "/" + y + " ";
  EXPECT_EQ(missing, "");
}

}  // namespace
}  // namespace godwit::e2e
