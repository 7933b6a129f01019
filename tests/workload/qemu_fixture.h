// The workload guest under QEMU, for tests: files, start and the words of a test.
#pragma once
#include <unistd.h>

#include <fstream>
#include <memory>
#include <string>

#include "bench/qemu/qemu_process.h"
#include "bench/workload/workload.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/workload/temp_dir.h"

namespace godwit::bench {

// Exit status of QEMU's isa-debug-exit for the guest's exit codes (README.md): code * 2 + 1.
inline constexpr int kExitOk = 1;
inline constexpr int kExitCheckFailed = 3;
inline constexpr int kExitBadConfiguration = 5;

// Long enough for an emulated guest on a loaded machine; nothing waits that long when all is well.
inline constexpr auto kPatience = std::chrono::seconds(60);

class QemuTest : public testing::Test {
 protected:
  // Ends the test as skipped, with the reason, if QEMU or KVM is missing.
  void require(const std::string& accelerator) {
    if (!have_program("qemu-system-x86_64")) {
      GTEST_SKIP() << "qemu-system-x86_64 is not installed (Debian package qemu-system-x86)";
    }
    if (accelerator == "kvm" && ::access("/dev/kvm", R_OK | W_OK) != 0) {
      GTEST_SKIP() << "/dev/kvm cannot be opened";
    }
    accelerator_ = accelerator;
    std::ofstream file(kernel(), std::ios::binary);
    const auto elf = workload_elf();
    file.write(reinterpret_cast<const char*>(elf.data()), static_cast<std::streamsize>(elf.size()));
    ASSERT_TRUE(file.good());
  }

  QemuOptions options(const std::string& name, unsigned cpus, const std::string& command_line) {
    QemuOptions o;
    o.name = name;
    o.work_dir = dir_.path();
    o.accelerator = accelerator_;
    o.memory = 64_MiB;
    o.cpus = cpus;
    o.kernel = kernel();
    o.command_line = command_line + " cpus=" + std::to_string(cpus);
    return o;
  }
  static std::unique_ptr<QemuProcess> start(const QemuOptions& options) {
    auto qemu = QemuProcess::start(options);
    if (!qemu) {
      ADD_FAILURE() << qemu.error().message;
      return nullptr;
    }
    return std::move(*qemu);
  }
  // Starts a guest and waits until it is at work.
  std::unique_ptr<QemuProcess> boot(const QemuOptions& options) {
    auto qemu = start(options);
    if (qemu) answer(qemu->serial().wait_for("ready", kPatience));
    return qemu;
  }
  // The line, or a failure of the test and an empty one.
  static GuestLine answer(const Result<GuestLine>& line) {
    if (line) return *line;
    ADD_FAILURE() << line.error().message;
    return {};
  }
  static uint64_t number(const GuestLine& line, const std::string& key) {
    const auto value = line.number(key);
    if (value) return *value;
    ADD_FAILURE() << value.error().message;
    return 0;
  }
  static GuestLine report(QemuProcess& qemu) {
    return answer(qemu.serial().ask('r', "report", kPatience));
  }
  static void expect_check_ok(QemuProcess& qemu) {
    EXPECT_EQ(answer(qemu.serial().ask('c', "check_ms", kPatience)).value("check"), "ok");
  }
  static void expect_good_end(QemuProcess& qemu) {
    EXPECT_EQ(answer(qemu.serial().ask('q', "final", kPatience)).value("check"), "ok");
    EXPECT_EQ(qemu.wait_exit(kPatience).value(), kExitOk);
  }

  [[nodiscard]] std::filesystem::path kernel() const { return dir_.path() / "workload.elf"; }

  TempDir dir_;
  std::string accelerator_;
};

}  // namespace godwit::bench
