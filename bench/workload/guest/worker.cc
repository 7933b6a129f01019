#include "bench/workload/guest/worker.h"

namespace godwit::workload {
namespace {

// The part of [0, total) that falls to one of `parts`.
void slice(uint64_t total, uint32_t index, uint32_t parts, uint64_t& first, uint64_t& count) {
  first = total * index / parts;
  count = total * (index + 1) / parts - first;
}

uint64_t share_of(uint64_t total, uint32_t index, uint32_t parts) {
  uint64_t first;
  uint64_t count;
  slice(total, index, parts, first, count);
  return count;
}

void fail(PageId id, const PageVerdict& verdict) {
  uint32_t none = 0;
  if (!__atomic_compare_exchange_n(&shared.failed, &none, 1U, false, __ATOMIC_ACQUIRE,
                                   __ATOMIC_RELAXED)) {
    return;
  }
  shared.failed_page = id;
  shared.failure = verdict;
  __atomic_store_n(&shared.failed, 2U, __ATOMIC_RELEASE);
}

}  // namespace

void Worker::set_up(uint32_t index) {
  index_ = index;
  slice(shared.memory.working_set.pages(), index, shared.cpus, ws_first_, ws_count_);
  slice(shared.memory.fill.pages(), index, shared.cpus, fill_first_, fill_count_);
  picker_ = PagePicker(shared.params.pattern, ws_count_ == 0 ? 1 : ws_count_,
                       mix64(shared.params.seed) + index);
  for (uint64_t i = 0; i < ws_count_; ++i) shared.memory.sequences[ws_first_ + i] = 1;
  for (uint64_t i = 0; i < slice_pages(); ++i) {
    const Page page = slice_page(i);
    write_page(page.data, shared.content, page.id);
  }
}

void Worker::start() {
  const uint64_t hz = shared.tsc.khz * 1000;
  const uint64_t now = rdtsc();
  const Params& params = shared.params;
  unlimited_ = params.rate == kRateMax && ws_count_ > 0;
  const uint64_t rate = unlimited_ ? 0 : share_of(params.rate, index_, shared.cpus);
  paced_ = rate > 0 && ws_count_ > 0 && params.rate != kRateMax;
  if (paced_) pacer_ = Pacer(rate, hz, now);
  if (params.sweep > 0) {
    sweeper_ = Pacer(params.sweep, hz, now, params.tick_us < 1000 ? 1000 : params.tick_us);
  }
  gap.start();
}

bool Worker::step(uint64_t now) {
  // Each kind of work in turn, so that none starves another.
  bool busy = full_check_step();
  busy |= write_step(now);
  busy |= sweep_step(now);
  return busy;
}

uint64_t Worker::wake(uint64_t now) const {
  const uint64_t tick = now + shared.params.tick_us * shared.tsc.khz / 1000;
  if (!paced_ || !was_writing_) return tick;
  const uint64_t next = pacer_.wake();
  return static_cast<int64_t>(next - tick) < 0 ? next : tick;
}

void Worker::halt_until(uint64_t deadline) {
  shared.timer.halt_until(index_, deadline);
  gap.sample_after_halt(deadline);
}

Worker::Page Worker::slice_page(uint64_t index) const {
  const bool in_ws = index < ws_count_;
  const uint64_t frame = in_ws ? shared.memory.working_set.frame(ws_first_ + index)
                               : shared.memory.fill.frame(fill_first_ + index - ws_count_);
  const uint32_t sequence = in_ws ? shared.memory.sequences[ws_first_ + index] : kFillSequence;
  return {frame_address(frame), {frame, sequence}};
}

void Worker::verify(const Page& page) {
  if (!page_matches(page.data, shared.content, page.id)) {
    fail(page.id, examine_page(page.data, shared.content, page.id));
  }
  __atomic_store_n(&checked_, checked_ + 1, __ATOMIC_RELAXED);
}

void Worker::write_next() {
  const uint64_t index = picker_.next();
  Page page = slice_page(index);
  verify(page);
  if (++page.id.sequence == kFillSequence) ++page.id.sequence;
  write_page(page.data, shared.content, page.id);
  shared.memory.sequences[ws_first_ + index] = page.id.sequence;
  __atomic_store_n(&written_, written_ + 1, __ATOMIC_RELAXED);
}

bool Worker::full_check_step() {
  const uint32_t wanted = __atomic_load_n(&shared.check_generation, __ATOMIC_ACQUIRE);
  if (wanted == check_done_) return false;
  if (wanted != check_running_) {
    check_running_ = wanted;
    check_cursor_ = 0;
  }
  if (check_cursor_ < slice_pages()) {
    verify(slice_page(check_cursor_++));
    return true;
  }
  __atomic_store_n(&check_done_, wanted, __ATOMIC_RELEASE);
  return false;
}

bool Worker::write_step(uint64_t now) {
  const bool writing = __atomic_load_n(&shared.writing, __ATOMIC_RELAXED) != 0;
  if (writing && !was_writing_ && paced_) pacer_.restart(now);
  was_writing_ = writing;
  if (!writing) return false;
  if (!unlimited_ && !(paced_ && pacer_.take(now))) return false;
  write_next();
  return true;
}

bool Worker::sweep_step(uint64_t now) {
  if (shared.params.sweep == 0 || slice_pages() == 0 || !sweeper_.take(now)) return false;
  verify(slice_page(sweep_cursor_));
  sweep_cursor_ = sweep_cursor_ + 1 == slice_pages() ? 0 : sweep_cursor_ + 1;
  return true;
}

}  // namespace godwit::workload
