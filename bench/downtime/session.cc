#include "bench/downtime/session.h"

#include <stdlib.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>
#include <fstream>
#include <thread>

#include "bench/child_process.h"
#include "bench/workload/workload.h"
#include "vmm/base/syscall.h"

namespace godwit::bench {
namespace {

constexpr auto kPatience = std::chrono::seconds(30);

class WorkDir {
 public:
  WorkDir() {
    // Short: socket paths are limited to 107 bytes.
    std::string name = "/tmp/godwit-bench-XXXXXX";
    if (::mkdtemp(name.data()) == nullptr) throw_errno("mkdtemp");
    path_ = name;
  }
  ~WorkDir() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  WorkDir(const WorkDir&) = delete;
  WorkDir& operator=(const WorkDir&) = delete;
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

// The first line that a program prints; kIo if it fails.
Result<std::string> first_line_of(const std::filesystem::path& dir,
                                  std::vector<std::string> command) {
  const auto out = dir / "output";
  const std::string program = command.front();
  GODWIT_ASSIGN(ChildProcess child, ChildProcess::start({.command = std::move(command),
                                                         .stdout_path = out,
                                                         .stderr_path = dir / "errors"}));
  GODWIT_ASSIGN(const int status, child.wait_exit(kPatience));
  if (status != 0) {
    return make_error(Errc::kIo, "{} failed with status {}: {}", program, status,
                      read_text_file(dir / "errors"));
  }
  const std::string text = read_text_file(out);
  return text.substr(0, text.find('\n'));
}

std::string machine_name() {
  std::ifstream cpuinfo("/proc/cpuinfo");
  std::string model = "unknown CPU";
  for (std::string line; std::getline(cpuinfo, line);) {
    if (!line.starts_with("model name")) continue;
    model = line.substr(line.find(':') + 2);
    break;
  }
  return fmt::format("{} CPUs {}", std::thread::hardware_concurrency(), model);
}

std::string kernel_name() {
  utsname name{};
  return ::uname(&name) == 0 ? name.release : "unknown";
}

std::string today() {
  const std::time_t time = std::time(nullptr);
  std::tm parts{};
  ::gmtime_r(&time, &parts);
  char text[32];
  std::strftime(text, sizeof(text), "%Y-%m-%d %H:%M UTC", &parts);
  return text;
}

double load_average() {
  double load = 0;
  std::ifstream("/proc/loadavg") >> load;
  return load;
}

void remark(SessionInfo& info, const std::string& text) {
  info.remarks += (info.remarks.empty() ? "" : "; ") + text;
}

// The files that every run uses.
Result<BenchSetup> prepare(const SessionOptions& options, const std::filesystem::path& dir) {
  BenchSetup setup{.godwit = options.godwit, .qemu = options.qemu, .work_dir = dir};
  setup.kernel = dir / "workload.elf";
  std::ofstream file(setup.kernel, std::ios::binary);
  const auto elf = workload_elf();
  file.write(reinterpret_cast<const char*>(elf.data()), static_cast<std::streamsize>(elf.size()));
  if (!file.flush()) {
    return make_error(Errc::kIo, "Cannot write {}; is the disk full?", setup.kernel.string());
  }
  setup.tls_dir = dir / "tls";
  GODWIT_TRY(
      first_line_of(dir, {options.godwit, "certs", setup.tls_dir.string(), "--host", "127.0.0.1"}));
  return setup;
}

void print_progress(const Run& run, unsigned runs) {
  const RunFigures& f = run.figures;
  if (f.converged) {
    fmt::print(stderr,
               "{:<28} {:<13} {:>2}/{}  blackout {:8.3f} ms, gap {:8.3f}, total {:8.1f}, source "
               "CPU {:.3f} s, load {:.1f}\n",
               run.case_name, contestant_name(run.contestant), run.round + 1, runs, f.blackout_ms,
               f.guest_gap_ms, f.total_ms, f.source_cpu_s, run.load);
  } else {
    fmt::print(stderr, "{:<28} {:<13} {:>2}/{}  {}\n", run.case_name,
               contestant_name(run.contestant), run.round + 1, runs, f.remark);
  }
}

Result<void> run_one_case(const SessionOptions& options, const BenchSetup& setup, const Case& c,
                          const std::vector<Contestant>& contestants, Results& results) {
  for (unsigned round = 0; round < options.runs; ++round) {
    for (const Contestant who : contestants) {
      const double load = load_average();
      auto figures = run_case(setup, c, who);
      if (!figures) {
        return figures.error().with_context(
            fmt::format("{}, {}, run {}", c.name, contestant_name(who), round + 1));
      }
      results.add({c.name, who, round, load, std::move(*figures)});
      print_progress(results.runs().back(), options.runs);
    }
  }
  return {};
}

// The contestants that are there.
std::vector<Contestant> present(const SessionOptions& options, SessionInfo& info,
                                const std::filesystem::path& dir) {
  std::vector<Contestant> found = options.contestants;
  const auto version = first_line_of(dir, {options.qemu, "--version"});
  info.qemu_version = version ? *version : "no QEMU";
  if (!version && std::ranges::any_of(found, is_qemu)) {
    remark(info, fmt::format("{} is missing (Debian package qemu-system-x86): its columns are "
                             "left out",
                             options.qemu));
    std::erase_if(found, is_qemu);
  }
  return found;
}

}  // namespace

Result<Results> run_session(const SessionOptions& options) {
  const WorkDir dir;
  SessionInfo info{.date = today(),
                   .machine = machine_name(),
                   .kernel = kernel_name(),
                   .command = options.command};
  GODWIT_ASSIGN(info.godwit_version, first_line_of(dir.path(), {options.godwit, "version"}));
  const std::vector<Contestant> contestants = present(options, info, dir.path());
  GODWIT_ASSIGN(BenchSetup setup, prepare(options, dir.path()));
  std::unique_ptr<ShapedLink> shaped;
  std::vector<Case> cases = options.cases;
  const auto is_shaped = [](const Case& c) { return c.link == Link::kShaped; };
  if (std::ranges::any_of(cases, is_shaped)) {
    if (auto link = ShapedLink::create()) {
      shaped = std::move(*link);
      setup.shaped = shaped.get();
      remark(info, "shaped link: " + shaped->description());
    } else {
      remark(info, "shaped cases are left out: " + link.error().message);
      std::erase_if(cases, is_shaped);
    }
  }
  if (!info.remarks.empty()) fmt::print(stderr, "{}\n", info.remarks);
  Results results(std::move(info));
  for (const Case& c : cases) GODWIT_TRY(run_one_case(options, setup, c, contestants, results));
  return results;
}

}  // namespace godwit::bench
