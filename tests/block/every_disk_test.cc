// What every kind of disk must do.
#include "tests/block/backend_kinds.h"

namespace godwit::devices {
namespace {

INSTANTIATE_TEST_SUITE_P(Kinds, EveryDisk,
                         ::testing::Values(DiskKind::kUringDirect, DiskKind::kUringCached,
                                           DiskKind::kThreadsDirect, DiskKind::kThreadsCached,
                                           DiskKind::kNbd, DiskKind::kNbdPlain),
                         kind_name);

TEST_P(EveryDisk, WrittenBytesAreReadBackAndInTheFile) {
  GODWIT_OPEN_OR_SKIP(1u << 20);
  const auto bytes = pattern(8192, 1);
  ASSERT_EQ(0, driver().write(4096, bytes));
  ASSERT_EQ(0, driver().flush());
  std::vector<std::byte> back(8192);
  ASSERT_EQ(0, driver().read(4096, back));
  EXPECT_EQ(back, bytes);
  std::vector<std::byte> in_file(8192);
  const UniqueFd file(::open(path_.c_str(), O_RDONLY | O_CLOEXEC));
  ASSERT_EQ(8192, ::pread(file.get(), in_file.data(), in_file.size(), 4096));
  EXPECT_EQ(in_file, bytes);
}

TEST_P(EveryDisk, MemoryOfAnyShapeServes) {
  GODWIT_OPEN_OR_SKIP(8u << 20);
  // One byte off every alignment, many tiny parts, empty parts, parts that touch.
  auto memory = pattern((1u << 20) + 4096, 2);
  std::vector<iovec> parts;
  size_t at = 1;
  for (size_t i = 0; at < (1u << 20) + 1; ++i) {
    const size_t length = std::min<size_t>({1 + (i * 37) % 999, (1u << 20) + 1 - at});
    parts.push_back({memory.data() + at, length});
    if (i % 5 == 0) parts.push_back({memory.data(), 0});
    at += length;
  }
  std::reverse(parts.begin(), parts.end());  // so that they cannot all be merged
  ASSERT_GT(parts.size(), 2000u);
  ASSERT_EQ(0, driver().run({BlockOp::kWrite, false, 512, 1u << 20, parts}));
  const auto before = memory;
  std::fill(memory.begin() + 1, memory.begin() + (1 << 20) + 1, std::byte{0xee});
  ASSERT_EQ(0, driver().run({BlockOp::kRead, false, 512, 1u << 20, parts}));
  EXPECT_TRUE(memory == before);
}

TEST_P(EveryDisk, WhatLiesBeyondTheEndIsRefusedAndTheFileKeepsItsSize) {
  const uint64_t size = 64 * 1024 + 512;  // no multiple of a page
  GODWIT_OPEN_OR_SKIP(size);
  EXPECT_EQ(info().size_bytes, size);
  const auto bytes = pattern(4096, 3);
  const std::span<const std::byte> last(bytes.data(), 512);
  EXPECT_EQ(0, driver().write(size - 512, last));
  std::vector<std::byte> back(512);
  EXPECT_EQ(0, driver().read(size - 512, back));
  EXPECT_TRUE(std::equal(back.begin(), back.end(), last.begin()));
  std::vector<std::byte> tail(4096 + 512);
  EXPECT_EQ(0, driver().read(size - tail.size(), tail));
  EXPECT_EQ(ERANGE, driver().write(size - 512, {bytes.data(), 1024}));
  EXPECT_EQ(ERANGE, driver().write(size, last));
  EXPECT_EQ(ERANGE, driver().write(UINT64_MAX - 511, last));
  EXPECT_EQ(ERANGE, driver().write_zeroes(size - 512, 1024, false));
  EXPECT_EQ(ERANGE, driver().discard(size - 512, 1024));
  EXPECT_EQ(0, driver().write_zeroes(size - 1024, 1024, true));
  EXPECT_EQ(0, driver().write_zeroes(size - 512, 512, false));
  EXPECT_EQ(0, driver().discard(size - 512, 512));
  EXPECT_EQ(0, driver().flush());
  EXPECT_EQ(file_size(path_), size);
}

TEST_P(EveryDisk, MalformedRequestsAreRefused) {
  GODWIT_OPEN_OR_SKIP(1u << 20);
  std::vector<std::byte> memory(4096);
  const iovec part{memory.data(), 1024};
  EXPECT_EQ(EINVAL, driver().run({BlockOp::kRead, false, 1, 1024, {&part, 1}}));
  EXPECT_EQ(EINVAL, driver().run({BlockOp::kRead, false, 0, 512, {&part, 1}}));
  EXPECT_EQ(EINVAL, driver().run({BlockOp::kRead, false, 0, 2048, {&part, 1}}));
  EXPECT_EQ(EINVAL, driver().run({BlockOp::kRead, false, 0, 0, {}}));
  EXPECT_EQ(EINVAL, driver().run({BlockOp::kWriteZeroes, false, 0, 100}));
  const std::array<iovec, 2> wraps{{{memory.data(), SIZE_MAX}, {memory.data(), 513}}};
  EXPECT_EQ(EINVAL, driver().run({BlockOp::kRead, false, 0, 512, wraps}));
  EXPECT_EQ(0u, queue_->in_flight());
}

TEST_P(EveryDisk, ReadOnlyDisksRefuseWrites) {
  GODWIT_OPEN_OR_SKIP(1u << 20);
  reopen(",readonly");
  EXPECT_TRUE(info().read_only);
  std::vector<std::byte> memory(512);
  EXPECT_EQ(EROFS, driver().write(0, memory));
  EXPECT_EQ(EROFS, driver().write_zeroes(0, 512, false));
  EXPECT_EQ(EROFS, driver().discard(0, 512));
  EXPECT_EQ(0, driver().read(0, memory));
  EXPECT_EQ(0, driver().flush());
}

TEST_P(EveryDisk, ZeroesAndDiscardsReadBackAsZeroesAndNothingElseChanges) {
  GODWIT_OPEN_OR_SKIP(4u << 20);
  const auto bytes = pattern(4u << 20, 4);
  ASSERT_EQ(0, driver().write(0, bytes));
  ASSERT_EQ(0, driver().write_zeroes(512, 3u << 10, false));
  ASSERT_EQ(0, driver().write_zeroes(64u << 10, 2u << 20, true));
  ASSERT_EQ(0, driver().write_zeroes(3u << 20, 300u << 10, false));
  ASSERT_TRUE(info().can_discard);
  ASSERT_EQ(0, driver().discard(3584u << 10, 128u << 10));
  auto want = bytes;
  std::fill_n(want.begin() + 512, 3 << 10, std::byte{0});
  std::fill_n(want.begin() + (64 << 10), 2 << 20, std::byte{0});
  std::fill_n(want.begin() + (3 << 20), 300 << 10, std::byte{0});
  std::fill_n(want.begin() + (3584 << 10), 128 << 10, std::byte{0});
  std::vector<std::byte> back(4u << 20);
  ASSERT_EQ(0, driver().read(0, back));
  EXPECT_TRUE(back == want);
}

TEST_P(EveryDisk, DiscardOffIsRefused) {
  GODWIT_OPEN_OR_SKIP(1u << 20);
  reopen(",discard=off");
  EXPECT_FALSE(info().can_discard);
  EXPECT_EQ(EOPNOTSUPP, driver().discard(0, 4096));
}

TEST_P(EveryDisk, DiscardGivesTheSpaceBack) {
  GODWIT_OPEN_OR_SKIP(4u << 20);
  ASSERT_EQ(0, driver().write(0, pattern(4u << 20, 5)));
  ASSERT_EQ(0, driver().flush());
  struct stat before {};
  struct stat after {};
  ASSERT_EQ(0, ::stat(path_.c_str(), &before));
  ASSERT_EQ(0, driver().discard(0, 2u << 20));
  ASSERT_EQ(0, driver().flush());
  ASSERT_EQ(0, ::stat(path_.c_str(), &after));
  EXPECT_LE(after.st_blocks + (1 << 11), before.st_blocks);
}

TEST_P(EveryDisk, FullQueueLeavesTheRequestToTheCaller) {
  GODWIT_OPEN_OR_SKIP(1u << 20);
  reopen(",queue-size=16");
  ASSERT_EQ(16u, queue_->capacity());
  std::vector<std::byte> memory(512 * 17);
  std::vector<iovec> parts;
  for (size_t i = 0; i < 17; ++i) parts.push_back({memory.data() + 512 * i, 512});
  const auto request = [&](size_t i) {
    return BlockRequest{BlockOp::kRead, false, 512 * i, 512, {&parts[i], 1}, 1000 + i};
  };
  for (size_t i = 0; i < 16; ++i) ASSERT_EQ(0, queue_->submit(request(i)));
  EXPECT_EQ(EAGAIN, queue_->submit(request(16)));
  EXPECT_EQ(16u, queue_->in_flight());
  queue_->kick();
  ASSERT_TRUE(driver().wait_some());
  ASSERT_EQ(0, queue_->submit(request(16)));
  queue_->kick();
  ASSERT_TRUE(driver().wait_all());
  for (size_t i = 0; i < 17; ++i) EXPECT_EQ(0, driver().take_error(1000 + i));
  EXPECT_EQ(17u, queue_->counters().completed);
  EXPECT_EQ(0u, queue_->counters().failed);
}

TEST_P(EveryDisk, EventStaysUntilEverythingIsReaped) {
  GODWIT_OPEN_OR_SKIP(1u << 20);
  // One for each: the host may serve them at the same time.
  std::array<std::vector<std::byte>, 3> memory;
  for (uint64_t tag = 0; tag < 3; ++tag) {
    memory[tag].resize(512);
    const iovec part{memory[tag].data(), 512};
    ASSERT_EQ(0, queue_->submit({BlockOp::kRead, false, 0, 512, {&part, 1}, tag}));
  }
  queue_->kick();
  for (size_t reaped = 0; reaped < 3;) {
    pollfd poll{queue_->event_fd(), POLLIN, 0};
    ASSERT_EQ(1, ::poll(&poll, 1, 60'000)) << "after " << reaped;
    BlockCompletion one;
    reaped += queue_->reap({&one, 1});
  }
  // Nothing is left, so a wait would be a real one.
  for (int i = 0; i < 100; ++i) ASSERT_EQ(0u, driver().reap_now());
  pollfd poll{queue_->event_fd(), POLLIN, 0};
  EXPECT_EQ(0, ::poll(&poll, 1, 0));
}

TEST_P(EveryDisk, QueueWithRequestsInFlightIsDropped) {
  GODWIT_OPEN_OR_SKIP(16u << 20);
  auto memory = pattern(8u << 20, 6);
  for (uint64_t i = 0; i < 8; ++i) {
    const iovec part{&memory[i << 20], 1u << 20};
    ASSERT_EQ(
        0,
        queue_->submit(
            {i % 2 ? BlockOp::kRead : BlockOp::kWrite, false, i << 20, 1u << 20, {&part, 1}, i}));
    if (i < 6) queue_->kick();
  }
  queue_.reset();
  memory.clear();
  memory.shrink_to_fit();  // a late write of the host would hit freed memory
}

TEST_P(EveryDisk, SeveralQueuesSeeOneDisk) {
  GODWIT_OPEN_OR_SKIP(1u << 20);
  ASSERT_GE(info().max_queues, 2);
  auto second = disk_.backend->create_queue().value();
  QueueDriver other(*second);
  const auto bytes = pattern(4096, 7);
  ASSERT_EQ(0, driver().write(8192, bytes));
  ASSERT_EQ(0, other.flush());
  std::vector<std::byte> back(4096);
  ASSERT_EQ(0, other.read(8192, back));
  EXPECT_EQ(back, bytes);
}

}  // namespace
}  // namespace godwit::devices
