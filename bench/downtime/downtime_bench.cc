// The downtime benchmark's command line. See --help and ../RESULTS.md.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <fstream>
#include <regex>

#include "bench/child_process.h"
#include "bench/downtime/session.h"

namespace godwit::bench {
namespace {

constexpr int kExitFailed = 1;
constexpr int kExitUsage = 2;
constexpr int kExitCannotRunHere = 77;  // what test runners take for "skipped"

constexpr const char* kFooter = R"(
Prints, for each case and VMM, p50, p95, p99 and max of the blackout (as the VMM reports it), the
gap that the guest saw, total time (without setup), throughput, brownout (the guest's writes per
second while copying, over those before), CPU time of both sides without vCPUs, and bytes on the
wire; and the ratio godwit / QEMU of each pair of runs. After every move the guest checks all of its
memory; a wrong byte ends the benchmark.

EXAMPLES
  downtime_bench --list
  downtime_bench --case '^idle-random-1G/' --runs 7 --json r.json --csv r.csv --svg r.svg
  downtime_bench --vmm godwit --case unlimited --runs 3
  downtime_bench --quick

EXIT STATUS
  0   every run was made, and memory was intact after each
  1   a run failed, or memory was damaged; stderr says which
  2   the command line is wrong
  77  no usable /dev/kvm: nothing can be measured here
)";

struct CommandLine {
  SessionOptions session;
  std::string filter;
  std::vector<std::string> vmms{"godwit", "qemu"};
  std::string json, csv, svg;
  bool list = false;
  bool quick = false;
};

// The godwit that was built with this benchmark, else the one in PATH.
std::string default_godwit() {
  std::error_code error;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", error);
  const auto beside = self.parent_path() / "godwit";
  return !error && have_program(beside.string()) ? beside.string() : "godwit";
}

void declare(CLI::App& app, CommandLine& o) {
  app.footer(kFooter);
  app.add_option("--runs", o.session.runs, "Runs of each case with each VMM (7)")
      ->check(CLI::Range(1, 10000));
  app.add_option("--case", o.filter, "Only cases whose name contains this regular expression");
  app.add_option("--vmm", o.vmms, "VMMs and settings: godwit, qemu, godwit-10ms, qemu-default")
      ->delimiter(',')
      ->check(CLI::IsMember({"godwit", "qemu", "godwit-10ms", "qemu-default"}));
  app.add_option("--godwit", o.session.godwit, "The godwit command")->default_str("");
  app.add_option("--qemu", o.session.qemu, "The QEMU to compare with (qemu-system-x86_64)");
  app.add_option("--json", o.json, "Writes everything to this file");
  app.add_option("--csv", o.csv, "Writes a line per run to this file");
  app.add_option("--svg", o.svg, "Draws a plot into this file");
  app.add_flag("--list", o.list, "Names the cases and VMMs");
  app.add_flag("--quick", o.quick, "One small case, one run each: a smoke run of a few seconds");
}

Result<std::vector<Case>> chosen_cases(const CommandLine& o) {
  std::vector<Case> cases = o.quick ? quick_cases() : all_cases();
  try {
    const std::regex filter(o.filter);
    std::erase_if(cases, [&](const Case& c) { return !std::regex_search(c.name, filter); });
  } catch (const std::regex_error& e) {
    return make_error(Errc::kInvalidArgument, "--case {} is no regular expression: {}", o.filter,
                      e.what());
  }
  if (cases.empty()) {
    return make_error(Errc::kInvalidArgument, "no case fits --case {}; --list shows them",
                      o.filter);
  }
  return cases;
}

void print_list(const std::vector<Case>& cases) {
  for (const Case& c : cases) fmt::print("{:<28} {}\n", c.name, c.workload);
  fmt::print("\n");
  for (const Contestant who : {Contestant::kGodwit, Contestant::kQemu, Contestant::kGodwit10ms,
                               Contestant::kQemuDefault}) {
    fmt::print("{:<28} {}\n", contestant_name(who), contestant_settings(who));
  }
}

bool write_file(const std::string& path, const std::string& text) {
  if (path.empty()) return true;
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << text;
  if (file.flush()) return true;
  fmt::print(stderr, "downtime_bench: cannot write {}\n", path);
  return false;
}

int run(CommandLine& o) {
  auto cases = chosen_cases(o);
  if (!cases) {
    fmt::print(stderr, "downtime_bench: {}\n", cases.error().message);
    return kExitUsage;
  }
  if (o.list) {
    print_list(*cases);
    return 0;
  }
  if (::access("/dev/kvm", R_OK | W_OK) != 0) {
    fmt::print(stderr, "downtime_bench: /dev/kvm cannot be opened; `godwit check` says more\n");
    return kExitCannotRunHere;
  }
  o.session.cases = std::move(*cases);
  if (o.quick) o.session.runs = 1;
  for (const std::string& name : o.vmms) {
    o.session.contestants.push_back(*contestant_from_name(name));
  }
  const auto results = run_session(o.session);
  if (!results) {
    fmt::print(stderr, "downtime_bench: {}\n", results.error().message);
    return kExitFailed;
  }
  fmt::print("{}", to_table(*results));
  const bool written = write_file(o.json, to_json(*results)) & write_file(o.csv, to_csv(*results)) &
                       write_file(o.svg, to_svg(*results));
  return written ? 0 : kExitFailed;
}

}  // namespace
}  // namespace godwit::bench

int main(int argc, char** argv) {
  using namespace godwit::bench;
  CLI::App app{"downtime_bench - whole live migrations, godwit against QEMU, run by run in turn"};
  CommandLine options;
  options.session.qemu = "qemu-system-x86_64";
  options.session.godwit = default_godwit();
  for (int i = 0; i < argc; ++i) {
    options.session.command += (i == 0 ? "downtime_bench" : std::string(" ") + argv[i]);
  }
  declare(app, options);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : kExitUsage;
  }
  try {
    return run(options);
  } catch (const std::exception& e) {
    fmt::print(stderr, "downtime_bench: {}\n", e.what());
    return kExitFailed;
  }
}
