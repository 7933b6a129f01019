#include "bench/downtime/probe.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <thread>

namespace godwit::bench {
namespace {

constexpr auto kBootPatience = std::chrono::seconds(120);
constexpr auto kSettle = std::chrono::milliseconds(500);
// The guest's own serial accesses take up to so long where KVM is software-backed.
constexpr double kOrdinaryIoGapMs = 0.5;

}  // namespace

Result<GuestSample> sample_guest(SerialClient& serial, Nanoseconds patience) {
  GODWIT_ASSIGN(const GuestLine line, serial.ask('g', "report", patience));
  GODWIT_ASSIGN(const double uptime, line.decimal("uptime_ms"));
  GODWIT_ASSIGN(const double pages, line.decimal("pages"));
  GODWIT_ASSIGN(const double gap, line.decimal("gap_max_us"));
  GODWIT_ASSIGN(const double io_gap, line.decimal("io_gap_us"));
  const double io_ms = io_gap / 1000;
  return GuestSample{uptime, pages, std::max(gap / 1000, io_ms > kOrdinaryIoGapMs ? io_ms : 0)};
}

Result<void> check_guest(SerialClient& serial) {
  GODWIT_ASSIGN(const GuestLine line, serial.ask('c', "check_ms", kBootPatience));
  if (line.value("check") == "ok") return {};
  return make_error(Errc::kCorrupt, "the guest's memory is damaged: {}", line.text);
}

Result<GuestBefore> settle_guest(SerialClient& serial, const Case& c) {
  GODWIT_TRY(serial.wait_for("ready", kBootPatience));
  std::this_thread::sleep_for(kSettle);  // the page tables of KVM fill
  GODWIT_ASSIGN(const GuestSample first, sample_guest(serial));
  std::this_thread::sleep_for(c.writes ? 2 * kSettle : kSettle / 5);
  GODWIT_ASSIGN(const GuestSample second, sample_guest(serial));
  const double elapsed = std::max(second.uptime_ms - first.uptime_ms, 1.0);
  return GuestBefore{second, (second.pages - first.pages) / elapsed};
}

// The samples lie a little outside of the migration; what was written there counts at the
// undisturbed rate.
void fill_guest_figures(const GuestBefore& before, const GuestSample& after, const Case& c,
                        RunFigures& figures) {
  figures.guest_gap_ms = after.gap_ms;
  if (!c.writes || before.pages_per_ms <= 0 || figures.total_ms <= 0) return;
  const double window = after.uptime_ms - before.sample.uptime_ms;
  const double outside = std::max(window - figures.total_ms, 0.0);
  const double inside = after.pages - before.sample.pages - (outside * before.pages_per_ms);
  figures.brownout = std::clamp(inside / (figures.total_ms * before.pages_per_ms), 0.0, 1.5);
}

CpuSample sample_cpu(pid_t pid, Nanoseconds process_time) {
  CpuSample sample{.process_s = to_seconds(process_time)};
  std::error_code error;
  const std::filesystem::path tasks = fmt::format("/proc/{}/task", pid);
  for (std::filesystem::directory_iterator it(tasks, error), end; !error && it != end;
       it.increment(error)) {
    std::string name;
    std::getline(std::ifstream(it->path() / "comm"), name);
    if (!name.starts_with("vcpu") && !(name.starts_with("CPU ") && name.ends_with("/KVM"))) {
      continue;
    }
    uint64_t run_ns = 0;  // the first number: time on the CPU
    std::ifstream(it->path() / "schedstat") >> run_ns;
    sample.vcpus_s += static_cast<double>(run_ns) / 1e9;
    sample.has_vcpus = true;
  }
  return sample;
}

}  // namespace godwit::bench
