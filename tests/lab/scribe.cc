// scribe write FILE [PER_SECOND]: appends numbered, checksummed records of 32 bytes to a file, each
// one brought down to the disk (fsync) before the next is begun. Goes on where the file ends; half
// a record at its end, of a machine that lost power, is cut off. Ends only on an error (status 1).
//
// scribe check FILE: says "records=120 bad=0 out_of_order=0"; status 1 unless both are 0.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string_view>

namespace {

struct Record {
  uint64_t number;
  uint64_t mono_ns;
  uint64_t noise;
  uint64_t check;
};
static_assert(sizeof(Record) == 32);

// splitmix64's finalizer: different in most bits for neighbouring inputs.
uint64_t mix(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

uint64_t check_of(const Record& record) {
  return mix(record.number + 1) ^ mix(record.mono_ns + 2) ^ mix(record.noise + 3);
}

int fail(const char* what) {
  std::fprintf(stderr, "scribe: %s: %m\n", what);
  return 1;
}

uint64_t now_ns() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

int write_records(const char* path, unsigned per_second) {
  const int fd = ::open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  struct stat status {};
  if (fd < 0 || ::fstat(fd, &status) != 0) return fail(path);
  uint64_t number = static_cast<uint64_t>(status.st_size) / sizeof(Record);
  if (::ftruncate(fd, static_cast<off_t>(number * sizeof(Record))) != 0) return fail("ftruncate");
  const timespec pause{0, static_cast<long>(1'000'000'000 / per_second)};
  for (;; ++number) {
    Record record{number, now_ns(), mix(number * 7919), 0};
    record.check = check_of(record);
    const ssize_t n = ::write(fd, &record, sizeof record);
    if (n != static_cast<ssize_t>(sizeof record)) return fail("write");
    if (::fsync(fd) != 0) return fail("fsync");
    ::nanosleep(&pause, nullptr);
  }
}

int check_records(const char* path) {
  std::FILE* const file = std::fopen(path, "rb");
  if (file == nullptr) return fail(path);
  unsigned long long records = 0, bad = 0, out_of_order = 0;
  Record record{};
  while (std::fread(&record, sizeof record, 1, file) == 1) {
    if (record.check != check_of(record)) ++bad;
    if (record.number != records) ++out_of_order;
    ++records;
  }
  std::fclose(file);
  std::printf("records=%llu bad=%llu out_of_order=%llu\n", records, bad, out_of_order);
  return bad == 0 && out_of_order == 0 && records > 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view mode = argc > 1 ? argv[1] : "";
  if (mode == "check" && argc == 3) return check_records(argv[2]);
  const unsigned per_second =
      argc > 3 ? static_cast<unsigned>(std::strtoul(argv[3], nullptr, 10)) : 20;
  if (mode == "write" && argc >= 3 && per_second >= 1 && per_second <= 1000)
    return write_records(argv[2], per_second);
  std::fprintf(stderr, "usage: scribe write FILE [PER_SECOND] | scribe check FILE\n");
  return 2;
}
