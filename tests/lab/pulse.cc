// pulse MEMORY_MIB PAGES_PER_SECOND: what runs in a guest of the lab. Twenty times a second it says
// on its standard output, the serial console,
//
//   seq=7 mono=1234567 real=1700000000123456 gap=5123 back=0 bad=0 checked=140
//
// the number of the line, CLOCK_MONOTONIC and CLOCK_REALTIME, the longest time since the last line
// in which it did not run (all in us), how often a clock went back, and how many of the pages that
// it looked at did not hold what it had written. It rewrites pages of a file in a tmpfs all the
// time. Warnings of the kernel follow as lines "kmsg: ...". Ends only when the machine does, or
// with status 1 when the guest cannot give it what it needs.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string_view>
#include <utility>
#include <vector>

namespace {

constexpr int64_t kTickUs = 5'000;
constexpr int64_t kLineUs = 50'000;
constexpr size_t kPageBytes = 4096;
constexpr size_t kPageWords = kPageBytes / sizeof(uint64_t);
constexpr int kWarningPriority = 4;  // syslog's LOG_WARNING

int64_t clock_us(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return now.tv_sec * 1'000'000 + now.tv_nsec / 1'000;
}

// splitmix64's finalizer: different in most bits for neighbouring inputs.
uint64_t mix(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

class Clocks {
 public:
  void tick() {
    const int64_t mono = clock_us(CLOCK_MONOTONIC);
    const int64_t real = clock_us(CLOCK_REALTIME);
    if (mono < mono_ || real < real_) ++back_;
    if (mono_ != 0) gap_ = std::max(gap_, mono - mono_);
    mono_ = mono;
    real_ = real;
  }
  [[nodiscard]] int64_t mono_us() const { return mono_; }
  [[nodiscard]] int64_t real_us() const { return real_; }
  [[nodiscard]] uint64_t back() const { return back_; }
  int64_t take_gap_us() { return std::exchange(gap_, 0); }

 private:
  int64_t mono_ = 0;
  int64_t real_ = 0;
  int64_t gap_ = 0;
  uint64_t back_ = 0;
};

// The pages and, apart from them, how often each was written: a write that got lost shows.
class Pages {
 public:
  Pages(uint64_t* words, size_t count) : words_(words), written_(count) {
    for (size_t page = 0; page < count; ++page) write(page);
  }

  // Looks at one page in turn and at another one by chance, which is then rewritten.
  void exercise() {
    check(turn_);
    turn_ = (turn_ + 1) % written_.size();
    random_ += 0x9e3779b97f4a7c15;
    const size_t page = mix(random_) % written_.size();
    check(page);
    write(page);
  }
  [[nodiscard]] uint64_t bad() const { return bad_; }
  [[nodiscard]] uint64_t checked() const { return checked_; }

 private:
  [[nodiscard]] uint64_t word(size_t page, size_t i) const {
    return mix((uint64_t{written_[page]} << 32) + page * kPageWords + i);
  }
  void write(size_t page) {
    ++written_[page];
    for (size_t i = 0; i < kPageWords; ++i) words_[page * kPageWords + i] = word(page, i);
  }
  void check(size_t page) {
    ++checked_;
    for (size_t i = 0; i < kPageWords; ++i) {
      if (words_[page * kPageWords + i] == word(page, i)) continue;
      ++bad_;
      std::printf("bad: page %zu, word %zu, after %u writes\n", page, i, written_[page]);
      write(page);
      return;
    }
  }

  uint64_t* words_;
  std::vector<uint32_t> written_;
  size_t turn_ = 0;
  uint64_t random_ = 1;
  uint64_t bad_ = 0;
  uint64_t checked_ = 0;
};

// Prints the kernel's new messages of at least warning priority. A record of /dev/kmsg is
// "priority,number,time,flags;text" (Linux's Documentation/ABI/testing/dev-kmsg).
void print_warnings(int kmsg) {
  char record[8192];
  for (ssize_t n = 0; (n = read(kmsg, record, sizeof record - 1)) > 0;) {
    record[n] = '\0';
    if ((std::strtol(record, nullptr, 10) & 7) > kWarningPriority) continue;
    std::string_view text(record, static_cast<size_t>(n));
    text.remove_prefix(std::min(text.find(';') + 1, text.size()));
    text = text.substr(0, text.find('\n'));
    std::printf("kmsg: %.*s\n", static_cast<int>(text.size()), text.data());
  }
}

void print_line(uint64_t seq, Clocks& clocks, const Pages& pages) {
  std::printf("seq=%ju mono=%jd real=%jd gap=%jd back=%ju bad=%ju checked=%ju\n", uintmax_t{seq},
              intmax_t{clocks.mono_us()}, intmax_t{clocks.real_us()},
              intmax_t{clocks.take_gap_us()}, uintmax_t{clocks.back()}, uintmax_t{pages.bad()},
              uintmax_t{pages.checked()});
  std::fflush(stdout);
}

void* map_file(size_t bytes) {
  const int fd = open("/tmp/pages", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0 || ftruncate(fd, static_cast<off_t>(bytes)) != 0) return MAP_FAILED;
  return mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
}

[[noreturn]] void run(Pages pages, uint64_t pages_per_second, int kmsg) {
  Clocks clocks;
  clocks.tick();
  const int64_t begin = clocks.mono_us();
  int64_t next_line = begin;
  uint64_t done = 0;
  for (uint64_t seq = 0;;) {
    const timespec pause{0, kTickUs * 1'000};
    nanosleep(&pause, nullptr);
    clocks.tick();
    // At most what is due in a tenth of a second: after a standstill it does not catch up.
    const uint64_t due = (clocks.mono_us() - begin) * pages_per_second / 1'000'000;
    done = std::max(done, due - std::min(due, pages_per_second / 10));
    for (; done < due; ++done) pages.exercise();
    print_warnings(kmsg);
    if (clocks.mono_us() < next_line) continue;
    next_line = clocks.mono_us() + kLineUs;
    print_line(seq++, clocks, pages);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const size_t bytes = argc == 3 ? std::strtoul(argv[1], nullptr, 10) << 20 : 0;
  if (bytes == 0) {
    std::fprintf(stderr, "usage: pulse MEMORY_MIB PAGES_PER_SECOND\n");
    return 1;
  }
  void* memory = map_file(bytes);
  const int kmsg = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  if (memory == MAP_FAILED || kmsg < 0) {
    std::perror("pulse: /tmp/pages or /dev/kmsg");
    return 1;
  }
  lseek(kmsg, 0, SEEK_END);
  run(Pages(static_cast<uint64_t*>(memory), bytes / kPageBytes), std::strtoul(argv[2], nullptr, 10),
      kmsg);
}
