#include "tests/e2e/fixture.h"

#include <stdlib.h>

#include "tests/kvm/require_kvm.h"
#include "vmm/base/syscall.h"

namespace godwit::e2e {
namespace json = boost::json;

WorkDir::WorkDir() {
  std::string name = "/tmp/godwit-e2e-XXXXXX";
  if (::mkdtemp(name.data()) == nullptr) throw_errno("mkdtemp");
  path_ = name;
}

WorkDir::~WorkDir() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

void E2eTest::SetUp() {
  GODWIT_REQUIRE_KVM();
}

Arguments E2eTest::tls() {
  if (tls_dir_.empty()) {
    tls_dir_ = dir_.path() / "tls";
    const CommandResult made =
        a_.godwit({"certs", tls_dir_.string(), "--host", "127.0.0.1", "--host", "::1"});
    EXPECT_EQ(made.status, kDone) << made.errors;
  }
  return {"--tls-dir", tls_dir_.string()};
}

std::unique_ptr<Guest> E2eTest::receiver(Host& host, const Arguments& security,
                                         const std::string& url) {
  return Guest::receive(host, Arguments{"--listen", url} + security);
}

std::unique_ptr<Child> E2eTest::start_migrate(Guest& guest, const std::string& url,
                                              const Arguments& arguments) {
  return guest.host().start(Arguments{"migrate", guest.name(), url, "--json"} + arguments);
}

Move E2eTest::end_of(Child& migrate) {
  const auto status = migrate.wait(kPatience);
  Move move{.status = status.value_or(-1), .report = {}, .errors = migrate.errors()};
  if (!status) {
    ADD_FAILURE() << "godwit migrate does not end; it wrote: " << move.errors;
    return move;
  }
  move.report = parse_only_object(migrate.output());
  return move;
}

Move E2eTest::migrate(Guest& guest, const std::string& url, const Arguments& arguments) {
  return end_of(*start_migrate(guest, url, arguments));
}

void E2eTest::await_precopy(Guest& guest) {
  double transferred = 0;
  std::string status;
  eventually([&] {
    const json::object info = guest.host().info(guest.name());
    if (info.empty()) return !guest.process().running();
    const json::object& migration = object_at(info, "migration");
    status = text_at(migration, "status");
    transferred = number_at(object_at(migration, "ram"), "transferred");
    return (status == "active" && transferred > 1'000'000) || status == "failed" ||
           status == "cancelled" || status == "completed";
  });
  EXPECT_EQ(status, "active") << guest.process().errors();
}

void E2eTest::expect_completed(const Move& move) {
  ASSERT_EQ(move.status, kDone) << move.errors;
  EXPECT_EQ(move.outcome(), "completed");
  EXPECT_FALSE(move.report.contains("error-desc"));
  const json::object& verify = object_at(move.report, "verify");
  EXPECT_TRUE(verify.at("equal").as_bool());
  EXPECT_EQ(text_at(verify, "source-hash"), text_at(verify, "target-hash"));
  const json::object& ledger = object_at(move.report, "ledger");
  double sum = 0;
  for (const char* phase :
       {"stop", "quiesce", "save", "final-harvest", "send", "load", "commit", "resume"}) {
    EXPECT_GE(number_at(ledger, phase), -number_at(ledger, "clock-offset-error")) << phase;
    sum += number_at(ledger, phase);
  }
  constexpr double kRounding = 1e-5;  // eight phases, each to the nanosecond; in ms
  EXPECT_NEAR(sum, number_at(ledger, "total"), kRounding);
  EXPECT_NEAR(number_at(move.report, "downtime"), number_at(ledger, "total"), kRounding);
}

void E2eTest::expect_stays(Guest& guest, const Move& move, const std::string& reason, int status) {
  EXPECT_EQ(move.status, status) << move.errors;
  EXPECT_EQ(move.outcome(), status == kCancelled ? "cancelled" : "failed");
  EXPECT_THAT(move.reason(), testing::HasSubstr(reason));
  EXPECT_THAT(move.errors, testing::HasSubstr(reason));
  // Not even stopped and resumed.
  EXPECT_FALSE(move.report.contains("downtime"));
  EXPECT_FALSE(move.report.contains("stall-after-failure")) << json::serialize(move.report);
  EXPECT_EQ(guest.state(), "running");
  guest.expect_intact();
}

}  // namespace godwit::e2e
