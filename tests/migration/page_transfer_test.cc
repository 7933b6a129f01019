// PageSender and PageReceiver joined in memory.
#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <thread>

#include "migration/page/memory_hash.h"
#include "migration/page/page_receiver.h"
#include "migration/page/page_sender.h"
#include "migration/page/zero.h"
#include "tests/support/memory_channel.h"

namespace godwit::migration {
namespace {

enum class Content { kRandom, kText, kZero };

void fill(std::byte* page, Content content, uint32_t seed) {
  std::mt19937_64 random(seed);
  std::memset(page, 0, kPageSize);
  if (content == Content::kZero) return;
  for (size_t i = 0; i < kPageSize; i += 8) {
    const uint64_t v = content == Content::kRandom ? random() : 0x20646f6f67206c6cull + seed % 7;
    std::memcpy(page + i, &v, 8);
  }
}

class PageTransfer : public testing::Test {
 protected:
  PageTransfer()
      : source(vmm::GuestMemory::create({.size = 16_MiB}).value()),
        target(vmm::GuestMemory::create({.size = 16_MiB}).value()),
        dirty(source->page_count()),
        populated(source->page_count()) {}

  void write(uint64_t page, Content content) {
    fill(source->page(PageIndex{page}), content, static_cast<uint32_t>(page));
    dirty.set(PageIndex{page});
  }
  // One iteration over one channel.
  Result<> transfer(Compression compression, bool checksums = true, uint32_t iteration = 1) {
    auto [a, b] = support::make_memory_pair();
    PageSender sender(*source, {.payload_checksums = checksums, .compression = compression});
    PageReceiver receiver(*target, populated, checksums);
    Result<> received;
    {
      std::jthread thread([&, &to = *b] { received = receiver.receive_iteration(to, iteration); });
      EXPECT_TRUE(sender.send_iteration(*a, dirty, iteration, {0, 1}));
    }
    counts = sender.counts().read();
    return received;
  }
  void expect_equal() { EXPECT_EQ(memory_hash(*source), memory_hash(*target)); }

  std::unique_ptr<vmm::GuestMemory> source, target;
  vmm::DirtyBitmap dirty, populated;
  PageCounts counts;
};

TEST_F(PageTransfer, EveryCodecKeepsEveryByte) {
  for (const Compression c : {Compression::kNone, Compression::kLz4, Compression::kAuto}) {
    for (const bool checksums : {true, false}) {
      std::mt19937 random(7);
      for (int i = 0; i < 900; ++i) write(random() % source->page_count(), Content(random() % 3));
      ASSERT_TRUE(transfer(c, checksums));
      expect_equal();
    }
  }
}

TEST_F(PageTransfer, CompressibleContentShrinksAndRandomContentIsSentRaw) {
  for (uint64_t p = 0; p < 64; ++p) write(p, Content::kText);
  for (uint64_t p = 64; p < 128; ++p) write(p, Content::kRandom);
  ASSERT_TRUE(transfer(Compression::kLz4));
  expect_equal();
  EXPECT_EQ(counts.normal, 128u);
  EXPECT_EQ(counts.lz4_pages, 64u);
  EXPECT_LT(counts.lz4_bytes_out * 4, counts.lz4_bytes_in);
}

TEST_F(PageTransfer, APageThatBecameZeroIsZeroAtTheTarget) {
  write(5, Content::kRandom);
  ASSERT_TRUE(transfer(Compression::kNone));
  write(5, Content::kZero);
  ASSERT_TRUE(transfer(Compression::kNone));
  EXPECT_EQ(counts.duplicate, 1u);
  EXPECT_TRUE(is_zero_page(target->page(PageIndex{5})));
}

TEST_F(PageTransfer, AZeroPageThatWasNeverUsedStaysUntouched) {
  write(5, Content::kZero);
  ASSERT_TRUE(transfer(Compression::kNone));
  EXPECT_TRUE(target->touched().empty());
}

TEST_F(PageTransfer, ManyZeroPagesFitFewFrames) {
  for (uint64_t p = 0; p < 4096; ++p) write(p, Content::kZero);
  ASSERT_TRUE(transfer(Compression::kNone));
  EXPECT_EQ(counts.duplicate, 4096u);
  EXPECT_EQ(counts.frames, 1u);
}

TEST_F(PageTransfer, AFrameOfAnotherIterationIsRejected) {
  write(5, Content::kRandom);
  auto [a, b] = support::make_memory_pair();
  PageSender sender(*source, {});
  PageReceiver receiver(*target, populated, true);
  ASSERT_TRUE(sender.send_iteration(*a, dirty, 2, {0, 1}));
  const auto r = receiver.receive_iteration(*b, 1);
  ASSERT_FALSE(r);
  EXPECT_EQ(r.error().code, Errc::kProtocol);
}

TEST_F(PageTransfer, EveryFlippedBitOfAStreamIsRejected) {
  write(3, Content::kText);
  write(9, Content::kZero);
  auto [a, b] = support::make_memory_pair();
  PageSender sender(*source, {.compression = Compression::kLz4});
  ASSERT_TRUE(sender.send_iteration(*a, dirty, 1, {0, 1}));
  std::vector<std::byte> stream(a->stats().bytes_sent);
  ASSERT_TRUE(b->receive(MutableBuffer(stream)));
  for (size_t i = 0; i < stream.size(); ++i) {
    auto bad = stream;
    bad[i] ^= std::byte(1 << (i % 8));
    auto [c, d] = support::make_memory_pair();
    ASSERT_TRUE(c->send(ConstBuffer(bad)));
    ASSERT_TRUE(c->flush());
    c.reset();
    PageReceiver receiver(*target, populated, true);
    EXPECT_FALSE(receiver.receive_iteration(*d, 1)) << "byte " << i;
  }
}

TEST_F(PageTransfer, ShardsPartitionThePages) {
  for (uint64_t p = 0; p < source->page_count(); p += 3) write(p, Content::kRandom);
  uint64_t sum = 0;
  for (uint32_t i = 0; i < 3; ++i) {
    auto [a, b] = support::make_memory_pair();
    PageSender sender(*source, {.compression = Compression::kNone});
    PageReceiver receiver(*target, populated, true);
    std::jthread thread([&, &to = *b] { EXPECT_TRUE(receiver.receive_iteration(to, 1)); });
    ASSERT_TRUE(sender.send_iteration(*a, dirty, 1, {i, 3}));
    sum += sender.counts().read().normal;
  }
  EXPECT_EQ(sum, dirty.count());
  expect_equal();
}

TEST(ZeroPage, FindsASingleByteAnywhere) {
  alignas(64) static std::byte page[kPageSize];
  EXPECT_TRUE(is_zero_page(page));
  for (std::byte& b : page) {
    b = std::byte{1};
    EXPECT_FALSE(is_zero_page(page));
    b = std::byte{0};
  }
}

}  // namespace
}  // namespace godwit::migration
