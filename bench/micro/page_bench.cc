// The data path of pages: zero test, sending and receiving with each codec, the hash of --verify.
#include <benchmark/benchmark.h>

#include <cstring>
#include <random>

#include "bench/micro/buffer_channel.h"
#include "migration/page/memory_hash.h"
#include "migration/page/page_receiver.h"
#include "migration/page/page_sender.h"
#include "migration/page/zero.h"

namespace godwit::bench {
namespace {

using namespace godwit::migration;

enum Content : int64_t { kZero, kCompressible, kRandom };

constexpr ByteCount kSize = 64_MiB;

// Half of each word repeats: LZ4 finds matches and literals in every page.
std::unique_ptr<vmm::GuestMemory> filled(Content content) {
  auto memory = vmm::GuestMemory::create({.size = kSize, .prealloc = true}).value();
  std::mt19937_64 random(1);
  auto* words = reinterpret_cast<uint64_t*>(memory->base());
  for (uint64_t i = 0; i < kSize.value / 8; ++i) {
    if (content == kRandom) words[i] = random();
    if (content == kCompressible) words[i] = i % 4 == 0 ? random() : 0x1234567812345678;
  }
  return memory;
}

void set_rates(benchmark::State& state) {
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * kSize.value));
}

void BM_ZeroTest(benchmark::State& state) {
  const auto memory = filled(static_cast<Content>(state.range(0)));
  for (auto _ : state) {
    uint64_t zero = 0;
    for (uint64_t p = 0; p < memory->page_count(); ++p) zero += is_zero_page(memory->page({p}));
    benchmark::DoNotOptimize(zero);
  }
  set_rates(state);
}
BENCHMARK(BM_ZeroTest)->ArgName("content")->Arg(kZero)->Arg(kRandom);

// The sender's own cost: the channel takes the bytes and drops them.
void BM_SendPages(benchmark::State& state) {
  const auto memory = filled(static_cast<Content>(state.range(0)));
  const auto compression = static_cast<Compression>(state.range(1));
  vmm::DirtyBitmap all(memory->page_count());
  all.set_all();
  NullChannel channel;
  PageSender sender(*memory,
                    {.payload_checksums = state.range(2) != 0, .compression = compression});
  uint32_t iteration = 0;
  for (auto _ : state) {
    if (!sender.send_iteration(channel, all, ++iteration, {0, 1})) state.SkipWithError("send");
  }
  set_rates(state);
  const PageCounts counts = sender.counts().read();
  state.counters["wire_ratio"] = static_cast<double>(counts.wire_bytes) /
                                 static_cast<double>(state.iterations() * kSize.value);
}
BENCHMARK(BM_SendPages)
    ->ArgNames({"content", "codec", "checksum"})
    ->ArgsProduct({{kZero, kCompressible, kRandom},
                   {static_cast<int64_t>(Compression::kAuto),
                    static_cast<int64_t>(Compression::kNone),
                    static_cast<int64_t>(Compression::kLz4)},
                   {0, 1}});

void BM_ReceivePages(benchmark::State& state) {
  const auto source = filled(static_cast<Content>(state.range(0)));
  const auto target = vmm::GuestMemory::create({.size = kSize, .prealloc = true}).value();
  vmm::DirtyBitmap all(source->page_count());
  vmm::DirtyBitmap populated(source->page_count());
  all.set_all();
  BufferChannel channel;
  PageSender sender(*source, {.compression = static_cast<Compression>(state.range(1))});
  if (!sender.send_iteration(channel, all, 1, {0, 1})) state.SkipWithError("send");
  PageReceiver receiver(*target, populated, true);
  for (auto _ : state) {
    channel.rewind();
    if (!receiver.receive_iteration(channel, 1)) state.SkipWithError("receive");
  }
  set_rates(state);
}
BENCHMARK(BM_ReceivePages)
    ->ArgNames({"content", "codec"})
    ->ArgsProduct({{kZero, kCompressible, kRandom},
                   {static_cast<int64_t>(Compression::kNone),
                    static_cast<int64_t>(Compression::kLz4)}});

// A late iteration: few pages, far apart.
void BM_SendSparsePages(benchmark::State& state) {
  const auto memory = filled(kRandom);
  vmm::DirtyBitmap sparse(memory->page_count());
  for (uint64_t p = 0; p < memory->page_count(); p += 257) sparse.set({p});
  NullChannel channel;
  PageSender sender(*memory, {});
  uint32_t iteration = 0;
  for (auto _ : state) {
    if (!sender.send_iteration(channel, sparse, ++iteration, {0, 1})) state.SkipWithError("send");
  }
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations() * sparse.count()));
}
BENCHMARK(BM_SendSparsePages);

void BM_MemoryHash(benchmark::State& state) {
  const auto memory = filled(kRandom);
  for (auto _ : state) benchmark::DoNotOptimize(memory_hash(*memory));
  set_rates(state);
}
BENCHMARK(BM_MemoryHash);

}  // namespace
}  // namespace godwit::bench
