#include "bench/workload/guest/console.h"

namespace godwit::workload {
namespace {

constexpr uint64_t kPollMs = 10;
constexpr uint64_t kWindowMs = 100;
constexpr uint64_t kStuckMs = 30'000;

uint64_t total_written() {
  uint64_t sum = 0;
  for (uint32_t i = 0; i < shared.cpus; ++i) sum += workers[i].written();
  return sum;
}

uint64_t total_checked() {
  uint64_t sum = 0;
  for (uint32_t i = 0; i < shared.cpus; ++i) sum += workers[i].checked();
  return sum;
}

uint64_t per_second(uint64_t pages, uint64_t ticks) {
  const uint64_t us = ticks / (shared.tsc.khz / 1000);
  return us == 0 ? 0 : pages * 1'000'000 / us;
}

uint64_t tenths_of_us(uint64_t ticks) {
  return ticks * 10 / (shared.tsc.khz / 1000);
}

void page_words(Line& line, const PageVerdict& v, PageId id) {
  line.hex("page", id.frame).kv("fault", page_fault_name(v.fault)).kv("offset", v.offset);
  line.hex("found", v.found_word).hex("expected", v.expected_word);
  line.hex("found_page", v.found_frame).kv("found_seq", v.found_sequence);
  line.kv("expected_seq", id.sequence);
}

}  // namespace

void die(const char* what, const char* detail, size_t detail_length) {
  Line line;
  line.kv("error", "\"").raw(what);
  if (detail != nullptr) line.raw(": ").raw(detail, detail_length);
  line.raw("\"");
  serial.print(line);
  leave(ExitCode::kBadConfiguration);
}

void print_start_line() {
  const Params& p = shared.params;
  Line line;
  line.kv("workload", 1).kv("vcpus", shared.cpus).kv("memory", shared.boot.ram_bytes);
  line.kv("ws_pages", shared.memory.working_set.pages());
  line.kv("fill_pages", shared.memory.fill.pages());
  if (p.rate == kRateMax) {
    line.kv("rate", "max");
  } else {
    line.kv("rate", p.rate);
  }
  line.kv("pattern", pattern_name(p.pattern)).kv("content", content_name(p.content));
  line.kv("seed", p.seed).kv("spin", p.spin ? 1 : 0);
  line.kv("tsc_khz", shared.tsc.khz).kv("tsc_source", shared.tsc.source);
  serial.print(line);
}

void print_ready_line(uint64_t populate_ticks) {
  Line line;
  serial.print(line.kv("ready", 1).kv("populate_ms", populate_ticks / shared.tsc.khz));
}

void Console::start(uint64_t now) {
  start_ = next_poll_ = interval_start_ = window_start_ = now;
  next_report_ = now + shared.params.report_ms * shared.tsc.khz;
  next_check_ = now + shared.params.check_ms * shared.tsc.khz;
}

bool Console::step(uint64_t now) {
  if (__atomic_load_n(&shared.failed, __ATOMIC_ACQUIRE) == 2) end_failed();
  GapTracker& gap = workers[0].gap;
  if (serial.pending()) {
    gap.sample();
    serial.pump();
    now = gap.sample_after_io();
  }
  if (now >= next_poll_) {
    next_poll_ = now + kPollMs * shared.tsc.khz;
    gap.sample();
    const int byte = serial.poll();
    now = gap.sample_after_io();
    if (byte >= 0) command(byte, now);
  }
  update_window(now);
  const Params& p = shared.params;
  if (p.report_ms > 0 && now >= next_report_) {
    next_report_ += p.report_ms * shared.tsc.khz;
    if (next_report_ <= now) next_report_ = now + p.report_ms * shared.tsc.khz;
    report(now);
  }
  if (p.check_ms > 0 && now >= next_check_ && !checking_) {
    next_check_ = now + p.check_ms * shared.tsc.khz;
    begin_check(now, false);
  }
  if (p.duration_ms > 0 && ms(now - start_) >= p.duration_ms && !final_) begin_check(now, true);
  if (checking_) watch_check(now);
  return serial.pending();
}

void Console::command(int byte, uint64_t now) {
  switch (byte) {
    case 'r':
      return report(now);
    case 'g':
      report(now);
      return reset_gap();
    case 'c':
      return begin_check(now, final_);
    case 'q':
      return begin_check(now, true);
    case 's': {
      const uint32_t writing = shared.writing == 0 ? 1 : 0;
      __atomic_store_n(&shared.writing, writing, __ATOMIC_RELAXED);
      Line line;
      return serial.queue(line.kv("writing", writing));
    }
    default:
      return;  // line feeds and noise
  }
}

void Console::reset_gap() {
  for (uint32_t i = 0; i < shared.cpus; ++i) workers[i].gap.largest.clear();
}

void Console::update_window(uint64_t now) {
  if (now - window_start_ < kWindowMs * shared.tsc.khz) return;
  const uint64_t written = total_written();
  const uint64_t rate = per_second(written - window_written_, now - window_start_);
  if (!have_window_ || rate < rate_min_) rate_min_ = rate;
  have_window_ = true;
  window_start_ = now;
  window_written_ = written;
}

void Console::report(uint64_t now) {
  uint64_t gap = 0;
  uint64_t largest = 0;
  uint64_t io = 0;
  uint64_t backwards = 0;
  for (uint32_t i = 0; i < shared.cpus; ++i) {
    GapTracker& g = workers[i].gap;
    const uint64_t interval = g.interval.clear();
    if (interval > gap) gap = interval;
    if (g.largest.get() > largest) largest = g.largest.get();
    const uint64_t own = g.io.clear();
    if (own > io) io = own;
    backwards += __atomic_load_n(&g.backwards, __ATOMIC_RELAXED);
  }
  const uint64_t written = total_written();
  const uint64_t rate = per_second(written - interval_written_, now - interval_start_);
  Line line;
  line.word("report").kv("seq", ++reports_).kv("uptime_ms", ms(now - start_));
  line.kv("pages", written).kv("rate", rate).kv("rate_min", have_window_ ? rate_min_ : rate);
  line.tenths("gap_us", tenths_of_us(gap)).tenths("gap_max_us", tenths_of_us(largest));
  line.tenths("io_gap_us", tenths_of_us(io)).kv("checked", total_checked());
  if (backwards > 0) line.kv("tsc_backwards", backwards);
  if (serial.dropped() > 0) line.kv("dropped_lines", serial.dropped());
  serial.queue(line.kv("check", "ok"));
  interval_start_ = now;
  interval_written_ = written;
  have_window_ = false;
}

void Console::begin_check(uint64_t now, bool final) {
  if (final && !final_) {
    // The last interval, before writing stops; unless it has just been told.
    if (ms(now - interval_start_) > 0) report(now);
    final_ = true;
    __atomic_store_n(&shared.writing, 0U, __ATOMIC_RELAXED);
  }
  checking_ = true;
  check_start_ = progress_time_ = now;
  check_pages_ = shared.memory.working_set.pages() + shared.memory.fill.pages();
  __atomic_store_n(&shared.check_generation, shared.check_generation + 1, __ATOMIC_RELEASE);
}

void Console::watch_check(uint64_t now) {
  uint32_t waiting = 0;
  while (waiting < shared.cpus && workers[waiting].check_done() == shared.check_generation) {
    ++waiting;
  }
  if (waiting < shared.cpus) {
    const uint64_t checked = workers[waiting].checked();
    if (checked != progress_checked_ || waiting != progress_cpu_) {
      progress_checked_ = checked;
      progress_cpu_ = waiting;
      progress_time_ = now;
    } else if (ms(now - progress_time_) > kStuckMs) {
      end_stuck(waiting);
    }
    return;
  }
  checking_ = false;
  // A failure that a vCPU is still describing comes before any "ok".
  if (__atomic_load_n(&shared.failed, __ATOMIC_ACQUIRE) != 0) return;
  if (final_) end_ok(now);
  Line line;
  line.kv("check", "ok").kv("pages", check_pages_).kv("check_ms", ms(now - check_start_));
  serial.queue(line);
}

void Console::end_failed() {
  Line line;
  line.kv("check", "FAILED");
  page_words(line, shared.failure, shared.failed_page);
  serial.print(line);
  leave(ExitCode::kCheckFailed);
}

void Console::end_stuck(uint32_t cpu) {
  Line line;
  line.kv("check", "FAILED").kv("fault", "stuck").kv("vcpu", cpu);
  serial.print(line.kv("waited_ms", kStuckMs));
  leave(ExitCode::kCheckFailed);
}

void Console::end_ok(uint64_t now) {
  serial.flush();
  Line line;
  line.word("final").kv("check", "ok").kv("pages", check_pages_);
  line.kv("check_ms", ms(now - check_start_)).kv("written", total_written());
  serial.print(line.kv("checked", total_checked()));
  leave(ExitCode::kOk);
}

}  // namespace godwit::workload
