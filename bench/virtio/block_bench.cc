// What a block request costs: from the doorbell to the used ring, on a disk in memory (tmpfs, no
// O_DIRECT) and on one in $TMPDIR or /tmp (O_DIRECT where that takes it).
#include <fcntl.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "bench/virtio/bench_machine.h"
#include "devices/virtio/block.h"

namespace godwit::bench {
namespace {

using devices::DiskAio;

constexpr uint64_t kDiskBytes = 64 << 20;
constexpr Gpa kHeaders{4 << 20};
constexpr Gpa kStatuses{5 << 20};
constexpr Gpa kData{8 << 20};

// A file of that size, all written, that goes with this.
class DiskFile {
 public:
  explicit DiskFile(const std::filesystem::path& folder)
      : path_((folder / "godwit-bench-XXXXXX").string()) {
    UniqueFd fd(::mkstemp(path_.data()));
    const std::string zeros(1 << 20, '\1');
    for (uint64_t at = 0; fd.valid() && at < kDiskBytes; at += zeros.size())
      if (::write(fd.get(), zeros.data(), zeros.size()) != static_cast<ssize_t>(zeros.size()))
        return;
    good_ = fd.valid();
  }
  DiskFile(const DiskFile&) = delete;
  DiskFile& operator=(const DiskFile&) = delete;
  ~DiskFile() { ::unlink(path_.c_str()); }
  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] bool good() const { return good_; }

 private:
  std::string path_;
  bool good_ = false;
};

std::unique_ptr<virtio::Model> open_block(benchmark::State& state, const std::string& path,
                                          DiskAio aio) {
  devices::DiskConfig config;
  config.id = "bench";
  config.path = path;
  config.aio = aio;
  auto disk = devices::open_disk(config);
  if (!disk) {
    state.SkipWithError(disk.error().message.c_str());
    return nullptr;
  }
  auto model = std::make_unique<virtio::Block>(std::move(*disk));
  if (const auto admitted = model->admit(1, false); !admitted) {
    state.SkipWithError(admitted.error().message.c_str());
    return nullptr;
  }
  return model;
}

struct Request {
  uint32_t type = 0;
  uint32_t reserved = 0;
  uint64_t sector = 0;
};

// Puts `count` requests of `bytes` at random places into the queue.
void offer_requests(BenchMachine& machine, bool write, uint32_t bytes, unsigned count,
                    uint64_t& random) {
  for (unsigned n = 0; n < count; ++n) {
    random = random * 6364136223846793005 + 1442695040888963407;
    const Request request{write ? 1u : 0u, 0,
                          (random >> 33) % (kDiskBytes / bytes) * (bytes / 512)};
    const Gpa header = kHeaders + n * sizeof request;
    (void)machine.memory().write(header, std::as_bytes(std::span(&request, 1)));
    machine.queue(0).add({{header, sizeof request, false},
                          {kData + uint64_t{n} * bytes, bytes, !write},
                          {kStatuses + n, 1, true}},
                         static_cast<uint16_t>(n * 3));
  }
}

// Arguments: write, in flight, bytes, aio, disk file.
void run_block(benchmark::State& state, DiskAio aio, const std::filesystem::path& folder) {
  const bool write = state.range(0) != 0;
  const auto in_flight = static_cast<unsigned>(state.range(1));
  const auto bytes = static_cast<uint32_t>(state.range(2));
  const DiskFile file(folder);
  if (!file.good()) return state.SkipWithError("no disk file could be made");
  auto model = open_block(state, file.path(), aio);
  if (!model) return;
  BenchMachine machine(std::move(model), 0, 1);
  uint64_t random = 1;
  uint64_t items = 0;
  const DeviceUse begin = DeviceUse::now();
  const uint64_t interrupts = machine.interrupts();
  for (auto _ : state) {
    offer_requests(machine, write, bytes, in_flight, random);
    machine.kick(0);
    if (!machine.wait(0, in_flight)) {
      state.SkipWithError("a request did not come back");
      break;
    }
    items += in_flight;
  }
  machine.report(state, begin, interrupts, std::max<uint64_t>(items, 1));
}

void BM_Block(benchmark::State& state, DiskAio aio, const char* where) {
  run_block(
      state, aio,
      where != nullptr ? std::filesystem::path(where) : std::filesystem::temp_directory_path());
}

void block_arguments(benchmark::internal::Benchmark* bench) {
  bench->ArgNames({"write", "in_flight", "bytes"})->UseRealTime();
  for (const int write : {0, 1})
    for (const int in_flight : {1, 16}) bench->Args({write, in_flight, 4096});
  bench->Args({0, 4, 1 << 20});
  bench->Args({1, 4, 1 << 20});
}
BENCHMARK_CAPTURE(BM_Block, uring_memory, DiskAio::kUring, "/dev/shm")->Apply(block_arguments);
BENCHMARK_CAPTURE(BM_Block, threads_memory, DiskAio::kThreads, "/dev/shm")->Apply(block_arguments);
BENCHMARK_CAPTURE(BM_Block, uring_disk, DiskAio::kUring, nullptr)->Apply(block_arguments);
BENCHMARK_CAPTURE(BM_Block, threads_disk, DiskAio::kThreads, nullptr)->Apply(block_arguments);

}  // namespace
}  // namespace godwit::bench
