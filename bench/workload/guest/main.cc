// Where ring 3 begins.
#include "bench/workload/guest/console.h"
#include "bench/workload/guest/hardware.h"
#include "bench/workload/guest/smp.h"
#include "bench/workload/guest/worker.h"

namespace godwit::workload {

// Nothing runs constructors here.
constinit Shared shared{};
constinit Worker workers[GUEST_MAX_CPUS];
constinit Serial serial;

namespace {

constinit Console console;

void spin_until(const uint32_t& flag, uint32_t value) {
  while (__atomic_load_n(&flag, __ATOMIC_ACQUIRE) != value) pause();
}

void configure() {
  if (const char* problem = read_boot_info(guest_start_info, shared.boot)) die(problem);
  const ParamError error = parse_params(shared.boot.command_line, shared.params);
  if (error.what != nullptr) die(error.what, error.text, error.length);
  shared.content = {shared.params.content, shared.params.seed};
  shared.tsc = find_tsc_frequency(shared.params.tsc_khz);
  if (shared.tsc.khz < 1000) die("TSC frequency unknown, give tsc_khz=");
  shared.timer = HaltTimer::calibrate(shared.tsc.khz);
  if (!shared.timer.works() && !shared.params.spin) die("no LAPIC timer to halt with, give spin=1");
  if (const char* problem = lay_out_memory(shared.boot, shared.params, shared.memory)) die(problem);
  const uint64_t expected = shared.memory.trampoline == 0 ? 1 : shared.params.cpus;
  shared.cpus = start_other_cpus(shared.memory.trampoline, expected, shared.tsc.khz);
  if (shared.cpus < shared.params.cpus) die("fewer vCPUs came up than cpus= says");
}

void populate_all() {
  const uint64_t start = rdtsc();
  __atomic_store_n(&shared.go, 1U, __ATOMIC_RELEASE);
  workers[0].set_up(0);
  spin_until(shared.populated, shared.cpus - 1);
  print_ready_line(rdtsc() - start);
  __atomic_store_n(&shared.run, 1U, __ATOMIC_RELEASE);
}

[[noreturn]] void run_boot_cpu() {
  set_up_tables();
  serial.set_up();
  set_up_lapic();
  configure();
  print_start_line();
  populate_all();
  Worker& worker = workers[0];
  worker.start();
  console.start(rdtsc());
  while (true) {
    const uint64_t now = worker.gap.sample();
    bool busy = worker.step(now);
    busy |= console.step(now);
    if (!busy && !shared.params.spin) worker.halt_until(worker.wake(now));
  }
}

[[noreturn]] void run_other_cpu(uint32_t index) {
  set_up_lapic();
  announce_cpu(index);
  spin_until(shared.go, 1);
  if (index >= shared.cpus) {
    while (true) halt_unless_interrupted(interrupt_count(index));
  }
  Worker& worker = workers[index];
  worker.set_up(index);
  __atomic_add_fetch(&shared.populated, 1U, __ATOMIC_ACQ_REL);
  spin_until(shared.run, 1);
  worker.start();
  while (true) {
    const uint64_t now = worker.gap.sample();
    if (!worker.step(now) && !shared.params.spin) worker.halt_until(worker.wake(now));
  }
}

}  // namespace
}  // namespace godwit::workload

extern "C" {

[[noreturn]] void guest_main(uint32_t index) {
  using namespace godwit::workload;
  if (index == 0) run_boot_cpu();
  run_other_cpu(index);
}

// An exception of the guest's own: a bug in it, or broken memory or state after a move.
[[noreturn]] void guest_fault() {
  using namespace godwit::workload;
  Line line;
  line.kv("error", "exception").kv("vector", guest_fault_record[0]);
  line.hex("code", guest_fault_record[1]).hex("rip", guest_fault_record[2]);
  line.hex("cr2", guest_fault_record[3]);
  serial.print(line);
  leave(ExitCode::kFault);
}
}
