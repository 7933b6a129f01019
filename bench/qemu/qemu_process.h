// One QEMU that runs the workload guest, driven over QMP: the other side of the downtime benchmark.
#pragma once
#include <sys/types.h>

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bench/child_process.h"
#include "bench/qemu/qmp_client.h"
#include "bench/serial_client.h"
#include "vmm/base/clock.h"
#include "vmm/base/error.h"
#include "vmm/base/fd.h"
#include "vmm/base/types.h"

namespace godwit::bench {

struct QemuOptions {
  std::string binary = "qemu-system-x86_64";  // looked for in PATH
  std::string name = "guest";                 // files in work_dir begin with it
  std::filesystem::path work_dir;             // exists; sockets and logs go there
  std::string accelerator = "kvm";            // or "tcg"
  std::string machine = "microvm";            // boots by far the fastest where KVM is emulated
  std::string cpu;                            // empty: QEMU's default
  ByteCount memory = 1_GiB;
  unsigned cpus = 1;
  std::filesystem::path kernel;  // an ELF with a PVH note
  std::string command_line;
  bool incoming = false;              // wait for listen() instead of booting
  bool preallocate = false;           // touch all memory before the guest starts
  std::filesystem::path memory_file;  // memory is this file, shared; empty: see below
  bool anonymous_memory = false;      // QEMU's own default; else a shared memfd
  std::filesystem::path tls_dir;      // x509 files by QEMU's names; empty: no TLS
  std::string tls_hostname;           // what the source expects in the target's certificate
  std::vector<std::string> prefix;    // before the command: {"ip", "netns", "exec", NAME}
  std::vector<std::string> extra;     // more arguments
};

// One side's settings; both sides need the same ones, but for those that say otherwise. The
// defaults are QEMU's own.
struct QemuMigrationSettings {
  std::optional<std::chrono::milliseconds> downtime_limit;  // source; QEMU: 300 ms
  std::optional<ByteCount> max_bandwidth;                   // source; per second; QEMU: 128 MiB
  unsigned multifd_channels = 0;                            // 0: multifd off
  bool auto_converge = false;                               // source
  bool postcopy = false;
  bool postcopy_preempt = false;
};

// query-migrate of a finished migration. Sizes are bytes.
struct QemuMigrationFigures {
  std::string status;  // "completed", "failed", "cancelled"
  std::string error;
  double total_ms = 0;
  double setup_ms = 0;
  double downtime_ms = 0;
  uint64_t transferred = 0;
  uint64_t total = 0;
  uint64_t duplicate_pages = 0;
  uint64_t normal_pages = 0;
  uint64_t iterations = 0;  // dirty-sync-count
  uint64_t postcopy_requests = 0;
  double mbps = 0;
  unsigned throttle_percentage = 0;
  boost::json::object raw;
};

// Not thread-safe. The process dies with this object, and with the thread that started it.
class QemuProcess {
 public:
  // Starts QEMU and waits until QMP answers; the guest runs (or waits for its migration). kNotFound
  // names the Debian package if there is no QEMU; kIo carries what QEMU printed.
  static Result<std::unique_ptr<QemuProcess>> start(const QemuOptions& options);
  ~QemuProcess();
  QemuProcess(const QemuProcess&) = delete;
  QemuProcess& operator=(const QemuProcess&) = delete;

  // Connected before the guest ran: no line is missed.
  [[nodiscard]] SerialClient& serial() { return serial_; }
  [[nodiscard]] QmpClient& qmp() { return qmp_; }
  [[nodiscard]] pid_t pid() const { return pid_; }

  Result<void> configure(const QemuMigrationSettings& settings);
  // Target: begins to listen ("tcp:127.0.0.1:0"); returns the URI to connect to, with the port that
  // was chosen.
  Result<std::string> listen(const std::string& uri);
  // Source: begins a migration; wait_migration() follows, or start_postcopy() before it.
  Result<void> start_migration(const std::string& uri);
  // Waits until the guest's memory goes over once, then lets the target run it.
  Result<void> start_postcopy();
  // Either side: waits (by MIGRATION events) until it is completed, failed or cancelled. A failed
  // migration is a figure, not an error. After kTimeout the migration goes on.
  Result<QemuMigrationFigures> wait_migration(Nanoseconds timeout);
  Result<QemuMigrationFigures> query_migration();
  Result<void> cancel_migration();

  // CPU time of all its threads so far, exact to the scheduler's clock.
  [[nodiscard]] Nanoseconds cpu_time() const;
  // Waits for the end of the process: its exit status, or 128 + the signal's number.
  Result<int> wait_exit(Nanoseconds timeout);
  // What QEMU has printed.
  [[nodiscard]] std::string log() const;

 private:
  QemuProcess(pid_t pid, UniqueFd pid_fd, std::filesystem::path log_path, QmpClient qmp,
              SerialClient serial, const QemuOptions& options);
  [[nodiscard]] Error with_log(const Error& error) const;

  pid_t pid_;
  UniqueFd pid_fd_;
  std::filesystem::path log_path_;
  QmpClient qmp_;
  SerialClient serial_;
  bool tls_;
  std::string tls_hostname_;
  bool reaped_ = false;
};

}  // namespace godwit::bench
