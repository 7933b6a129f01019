#include "bench/downtime/run.h"

#include <optional>

#include "bench/downtime/probe.h"
#include "bench/godwit/godwit_process.h"
#include "bench/qemu/qemu_process.h"

namespace godwit::bench {
namespace {

constexpr auto kSampleEvery = std::chrono::milliseconds(5);
constexpr auto kRestartPatience = std::chrono::milliseconds(200);
constexpr auto kSlack = std::chrono::seconds(10);

void fill_throughput(uint64_t pages_moved, RunFigures& figures) {
  if (figures.total_ms <= 0) return;
  const double mib = static_cast<double>(pages_moved * kPageSize) / (1 << 20);
  figures.throughput_mib = mib / (figures.total_ms / 1000);
}

// ---- godwit ----

struct GodwitPair {
  std::unique_ptr<GodwitProcess> source;
  std::unique_ptr<GodwitProcess> target;
};

Result<GodwitPair> start_godwit(const BenchSetup& setup, const Case& c) {
  GodwitOptions options;
  options.binary = setup.godwit;
  options.work_dir = setup.work_dir;
  options.preallocate = c.preallocate;
  options.memory = fmt::format("{}M", c.memory.value >> 20);
  const bool shaped = c.link == Link::kShaped;
  GodwitPair pair;
  options.name = "target";
  options.listen = fmt::format("tcp://{}:0", shaped ? ShapedLink::target_address() : "127.0.0.1");
  if (c.link == Link::kTls) options.tls_dir = setup.tls_dir;
  if (shaped) options.prefix = setup.shaped->target_prefix();
  GODWIT_ASSIGN(pair.target, GodwitProcess::start(options));
  options.name = "source";
  options.listen.clear();
  options.command_line = c.workload;
  if (shaped) options.prefix = setup.shaped->source_prefix();
  GODWIT_ASSIGN(pair.source, GodwitProcess::start(options));
  return pair;
}

// The gap is counted from the beginning of the copying on, so that it is not that of making the
// target's memory on the same machine, which QEMU does before. A guest that is gone before it
// answers has taken the command along.
void restart_gap(SerialClient& serial, GuestBefore& before) {
  if (const auto sample = sample_guest(serial, kRestartPatience)) before.sample = *sample;
}

// Waits for the answer; the source's last CPU figures are those just before it ends.
Result<GodwitMigrationFigures> wait_sampling(GodwitMigration& migration, GodwitProcess& source,
                                             Nanoseconds limit, CpuSample& cpu,
                                             GuestBefore& before) {
  const TimePoint deadline = now() + limit;
  bool copying = false;
  while (true) {
    auto figures = migration.wait(kSampleEvery);
    if (const CpuSample s = sample_cpu(source.process().pid(), source.process().cpu_time());
        s.has_vcpus) {
      cpu = s;
    }
    if (figures || figures.error().code != Errc::kTimeout) return figures;
    if (now() > deadline) return figures;
    if (!copying && source.log().find("migration: active") != std::string::npos) {
      copying = true;
      GODWIT_ASSIGN(SerialClient * serial, source.serial());
      restart_gap(*serial, before);
    }
  }
}

void fill_godwit(const GodwitMigrationFigures& f, RunFigures& figures) {
  figures.converged = f.status == "completed";
  if (!figures.converged) figures.remark = f.error.empty() ? f.status : f.error;
  figures.blackout_ms = f.downtime_ms.value_or(0);
  figures.setup_ms = f.setup_ms;
  figures.total_ms = f.total_ms - f.setup_ms;
  figures.whole_ms = f.total_ms;
  figures.wire_bytes = f.transferred;
  figures.iterations = f.iterations;
  const boost::json::value* ledger = f.raw.if_contains("ledger");
  if (ledger == nullptr || !ledger->is_object()) return;
  for (const auto& [key, value] : ledger->get_object()) {
    if (value.is_number()) figures.ledger_ms[key] = value.to_number<double>();
  }
}

std::vector<std::string> godwit_arguments(const Case& c, Contestant contestant) {
  std::vector<std::string> args = {
      "--multifd-channels", std::to_string(c.channels), "--timeout",
      fmt::format("{}ms",
                  std::chrono::duration_cast<std::chrono::milliseconds>(c.time_limit).count())};
  if (contestant == Contestant::kGodwit10ms) {
    args.insert(args.end(), {"--downtime-limit", "10ms"});
  }
  return args;
}

Result<RunFigures> run_godwit(const BenchSetup& setup, const Case& c, Contestant contestant) {
  GODWIT_ASSIGN(GodwitPair pair, start_godwit(setup, c));
  GODWIT_ASSIGN(SerialClient * serial, pair.source->serial());
  GODWIT_ASSIGN(GuestBefore before, settle_guest(*serial, c));

  GodwitProcess& source = *pair.source;
  GodwitProcess& target = *pair.target;
  const CpuSample source_before = sample_cpu(source.process().pid(), source.process().cpu_time());
  CpuSample source_after = source_before;
  const Nanoseconds target_before = target.process().cpu_time();
  const TimePoint start = now();
  const GodwitMigrationSettings settings{
      .tls_dir = c.link == Link::kTls ? setup.tls_dir : std::filesystem::path(),
      .extra = godwit_arguments(c, contestant)};
  GODWIT_ASSIGN(GodwitMigration migration, source.begin_migration(target.url(), settings));
  GODWIT_ASSIGN(const GodwitMigrationFigures f,
                wait_sampling(migration, source, c.time_limit + kSlack, source_after, before));
  RunFigures figures;
  figures.wall_ms = to_ms(now() - start);
  fill_godwit(f, figures);
  if (!figures.converged) return figures;
  const CpuSample target_after = sample_cpu(target.process().pid(), target.process().cpu_time());
  GODWIT_ASSIGN(SerialClient * arrived, target.serial());
  GODWIT_ASSIGN(const GuestSample after, sample_guest(*arrived));
  figures.source_cpu_s = source_after.vmm_s() - source_before.vmm_s();
  figures.target_cpu_s = target_after.vmm_s() - to_seconds(target_before);
  fill_guest_figures(before, after, c, figures);
  fill_throughput(static_cast<uint64_t>(json_number(f.raw, {"ram", "normal"}).value_or(0) +
                                        json_number(f.raw, {"ram", "duplicate"}).value_or(0)),
                  figures);
  GODWIT_TRY(check_guest(*arrived));
  return figures;
}

// ---- QEMU ----

struct QemuPair {
  std::unique_ptr<QemuProcess> source;
  std::unique_ptr<QemuProcess> target;
};

QemuMigrationSettings qemu_settings(const Case& c, Contestant contestant) {
  QemuMigrationSettings settings;
  if (contestant == Contestant::kQemuDefault) return settings;
  settings.downtime_limit = std::chrono::milliseconds(10);
  settings.max_bandwidth = ByteCount{uint64_t{1} << 40};
  settings.multifd_channels = c.channels > 1 ? c.channels : 0;
  settings.auto_converge = c.throttle;
  return settings;
}

Result<QemuPair> start_qemu(const BenchSetup& setup, const Case& c) {
  QemuOptions options;
  options.binary = setup.qemu;
  options.work_dir = setup.work_dir;
  options.memory = c.memory;
  options.kernel = setup.kernel;
  options.command_line = c.workload;
  options.preallocate = c.preallocate;
  options.anonymous_memory = true;  // untouched pages are read without taking memory
  options.extra = {"-name", "debug-threads=on"};
  if (c.link == Link::kTls) {
    options.tls_dir = setup.tls_dir;
    options.tls_hostname = "127.0.0.1";
  }
  const bool shaped = c.link == Link::kShaped;
  QemuPair pair;
  options.name = "target";
  options.incoming = true;
  if (shaped) options.prefix = setup.shaped->target_prefix();
  GODWIT_ASSIGN(pair.target, QemuProcess::start(options));
  options.name = "source";
  options.incoming = false;
  if (shaped) options.prefix = setup.shaped->source_prefix();
  GODWIT_ASSIGN(pair.source, QemuProcess::start(options));
  return pair;
}

void fill_qemu(const QemuMigrationFigures& f, RunFigures& figures) {
  figures.converged = f.status == "completed";
  if (!figures.converged) figures.remark = f.error.empty() ? f.status : f.error;
  figures.blackout_ms = f.downtime_ms;
  figures.setup_ms = f.setup_ms;
  figures.total_ms = f.total_ms - f.setup_ms;
  figures.whole_ms = f.total_ms;
  figures.wire_bytes = f.transferred;
  figures.iterations = f.iterations;
}

Result<RunFigures> run_qemu(const BenchSetup& setup, const Case& c, Contestant contestant) {
  GODWIT_ASSIGN(QemuPair pair, start_qemu(setup, c));
  const QemuMigrationSettings settings = qemu_settings(c, contestant);
  GODWIT_TRY(pair.target->configure(settings));
  GODWIT_TRY(pair.source->configure(settings));
  const char* address = c.link == Link::kShaped ? "10.213.77.2" : "127.0.0.1";
  GODWIT_ASSIGN(const std::string uri, pair.target->listen(fmt::format("tcp:{}:0", address)));
  GODWIT_ASSIGN(GuestBefore before, settle_guest(pair.source->serial(), c));

  const CpuSample source_before = sample_cpu(pair.source->pid(), pair.source->cpu_time());
  const CpuSample target_before = sample_cpu(pair.target->pid(), pair.target->cpu_time());
  const TimePoint start = now();
  GODWIT_TRY(pair.source->start_migration(uri));
  restart_gap(pair.source->serial(), before);
  auto f = pair.source->wait_migration(c.time_limit);
  RunFigures figures;
  figures.wall_ms = to_ms(now() - start);
  if (!f && f.error().code == Errc::kTimeout) {
    figures.remark = "did not converge within the time limit";
    return figures;
  }
  if (!f) return f.error();
  fill_qemu(*f, figures);
  if (!figures.converged) return figures;
  GODWIT_TRY(pair.target->wait_migration(kSlack));
  const CpuSample source_after = sample_cpu(pair.source->pid(), pair.source->cpu_time());
  const CpuSample target_after = sample_cpu(pair.target->pid(), pair.target->cpu_time());
  GODWIT_ASSIGN(const GuestSample after, sample_guest(pair.target->serial()));
  figures.source_cpu_s = source_after.vmm_s() - source_before.vmm_s();
  figures.target_cpu_s = target_after.vmm_s() - target_before.vmm_s();
  fill_guest_figures(before, after, c, figures);
  fill_throughput(f->normal_pages + f->duplicate_pages, figures);
  GODWIT_TRY(check_guest(pair.target->serial()));
  return figures;
}

}  // namespace

Result<RunFigures> run_case(const BenchSetup& setup, const Case& c, Contestant contestant) {
  return is_qemu(contestant) ? run_qemu(setup, c, contestant) : run_godwit(setup, c, contestant);
}

}  // namespace godwit::bench
