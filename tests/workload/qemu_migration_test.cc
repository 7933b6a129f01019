// The QEMU driver moves the workload guest, and the guest goes on unharmed.
#include <cstdlib>

#include "tests/workload/qemu_fixture.h"

namespace godwit::bench {
namespace {

using testing::HasSubstr;
using namespace std::chrono_literals;

class QemuMigration : public QemuTest, public testing::WithParamInterface<const char*> {
 protected:
  void SetUp() override { require(GetParam()); }

  // Boots a source, starts a target for it, settings applied to both.
  void start_both(const std::string& command_line, const QemuMigrationSettings& settings) {
    QemuOptions o = options("source", 2, "report=0 " + command_line);
    o.tls_dir = tls_dir_;
    o.tls_hostname = "localhost";
    source_ = boot(o);
    o.name = "target";
    o.incoming = true;
    target_ = start(o);
    ASSERT_TRUE(source_ && target_);
    ASSERT_TRUE(source_->configure(settings)) << source_->log();
    ASSERT_TRUE(target_->configure(settings)) << target_->log();
  }
  // QEMU's emulator loses guest writes while it migrates a running guest, before QEMU 9.0
  // ("physmem: Fix migration dirty bitmap coherency with TCG memory access"): the guest's checker
  // found it. So an emulated guest stands still while it moves.
  [[nodiscard]] static bool emulated() { return std::string_view(GetParam()) == "tcg"; }

  QemuMigrationFigures migrate(bool postcopy = false) {
    const auto uri = target_->listen("tcp:127.0.0.1:0").value();
    if (emulated()) {
      EXPECT_TRUE(source_->qmp().command("stop"));
    }
    EXPECT_TRUE(source_->start_migration(uri));
    if (postcopy) {
      EXPECT_TRUE(source_->start_postcopy());
    }
    const auto figures = source_->wait_migration(kPatience).value();
    EXPECT_EQ(figures.status, "completed") << figures.error;
    EXPECT_EQ(target_->wait_migration(kPatience)->status, "completed");
    if (emulated()) {
      EXPECT_TRUE(target_->qmp().command("cont"));
    }
    return figures;
  }
  void expect_alive_on_target(uint64_t pages_before) {
    expect_check_ok(*target_);
    EXPECT_GT(number(report(*target_), "pages"), pages_before);
    expect_good_end(*target_);
  }

  std::filesystem::path tls_dir_;
  std::unique_ptr<QemuProcess> source_;
  std::unique_ptr<QemuProcess> target_;
};
INSTANTIATE_TEST_SUITE_P(Qemu, QemuMigration, testing::Values("tcg", "kvm"),
                         [](const auto& i) { return std::string(i.param); });

TEST_P(QemuMigration, TheGuestGoesOnAndTheFiguresAreThere) {
  start_both("ws=4M fill=16M rate=2000", {.downtime_limit = 20ms, .max_bandwidth = 10_GiB});
  const uint64_t before = number(report(*source_), "pages");
  const QemuMigrationFigures figures = migrate();
  EXPECT_GT(figures.total_ms, 0);
  EXPECT_GT(figures.transferred, 20U << 20);
  EXPECT_GE(figures.total, 64U << 20);
  EXPECT_GE(figures.iterations, 1U);
  EXPECT_GT(source_->cpu_time(), 1ms);
  EXPECT_GT(target_->cpu_time(), 1ms);
  expect_alive_on_target(before);
}

TEST_P(QemuMigration, SeveralChannels) {
  start_both("ws=4M fill=16M rate=2000", {.max_bandwidth = 10_GiB, .multifd_channels = 2});
  const uint64_t before = number(report(*source_), "pages");
  migrate();
  expect_alive_on_target(before);
}

TEST_P(QemuMigration, PostCopy) {
  if (emulated()) GTEST_SKIP() << "an emulated guest may not run while QEMU migrates it";
  start_both("ws=16M fill=16M rate=20000",
             {.downtime_limit = 1ms, .max_bandwidth = 40_MiB, .postcopy = true});
  const uint64_t before = number(report(*source_), "pages");
  migrate(true);
  expect_alive_on_target(before);
}

TEST_P(QemuMigration, ATargetThatIsNotThereFailsAndTheGuestRunsOn) {
  start_both("ws=4M rate=2000", {});
  const uint64_t before = number(report(*source_), "pages");
  const auto uri = target_->listen("tcp:127.0.0.1:0").value();
  target_.reset();
  ASSERT_TRUE(source_->start_migration(uri));
  const auto figures = source_->wait_migration(kPatience).value();
  EXPECT_EQ(figures.status, "failed");
  EXPECT_FALSE(figures.error.empty());
  expect_check_ok(*source_);
  EXPECT_GT(number(report(*source_), "pages"), before);
  expect_good_end(*source_);
}

TEST_P(QemuMigration, OverTls) {
  if (!have_program("openssl")) GTEST_SKIP() << "openssl is not installed";
  tls_dir_ = dir_.path();
  const std::string script =
      "cd " + dir_.path().string() +
      " && new() { openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj \"/CN=$1\""
      " -keyout $1-key.pem \"${@:2}\"; }"
      " && new ca -x509 -days 2 -out ca-cert.pem -addext keyUsage=critical,keyCertSign"
      " && for side in server client; do new $side -out $side.csr"
      " && printf 'subjectAltName=DNS:localhost\\nkeyUsage=digitalSignature\\n"
      "extendedKeyUsage=%sAuth\\n' $side > $side.ext"
      " && openssl x509 -req -in $side.csr -CA ca-cert.pem -CAkey ca-key.pem -days 2"
      " -CAcreateserial -extfile $side.ext -out $side-cert.pem || exit 1; done";
  const std::string command = "bash " + (dir_.path() / "certs.sh").string() + " > /dev/null 2>&1";
  std::ofstream(dir_.path() / "certs.sh") << script << "\n";
  ASSERT_EQ(std::system(command.c_str()), 0);  // NOLINT(concurrency-mt-unsafe)
  start_both("ws=4M fill=16M rate=2000", {.max_bandwidth = 10_GiB});
  const uint64_t before = number(report(*source_), "pages");
  migrate();
  expect_alive_on_target(before);
}

TEST(QemuDriver, AMissingQemuIsNamedWithItsPackage) {
  QemuOptions o;
  o.binary = "qemu-system-none";
  const auto qemu = QemuProcess::start(o);
  ASSERT_FALSE(qemu);
  EXPECT_EQ(qemu.error().code, Errc::kNotFound);
  EXPECT_THAT(qemu.error().message, HasSubstr("qemu-system-x86"));
}

TEST(QemuDriver, AQemuThatCannotStartIsAnErrorWithItsOwnWords) {
  if (!have_program("qemu-system-x86_64")) GTEST_SKIP() << "qemu-system-x86 is not installed";
  const TempDir dir;
  QemuOptions o;
  o.work_dir = dir.path();
  o.accelerator = "tcg";
  o.kernel = "/nonexistent.elf";
  const auto qemu = QemuProcess::start(o);
  ASSERT_FALSE(qemu);
  EXPECT_THAT(qemu.error().message, HasSubstr("/nonexistent.elf"));
}

}  // namespace
}  // namespace godwit::bench
