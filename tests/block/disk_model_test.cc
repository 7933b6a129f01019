// Random requests, many in flight, checked against a model of the disk in memory.
#include <random>

#include "tests/block/backend_kinds.h"

namespace godwit::devices {
namespace {

constexpr uint64_t kSize = (2u << 20) + 512;
constexpr uint64_t kSectors = kSize / kSectorBytes;

class DiskModel : public EveryDisk {
 protected:
  struct Pending {
    BlockOp op;
    uint64_t offset, length;
    std::vector<std::byte> memory;  // with slack in front, so that it is unaligned
    size_t slack;
    std::vector<iovec> parts;
    std::vector<std::byte> expected;  // of a read
  };

  // Submits one request that touches nothing that is in flight; false: the queue is full.
  bool submit_random() {
    auto pending = std::make_unique<Pending>();
    pending->length = kSectorBytes * (1 + random_() % (random_() % 8 == 0 ? 600 : 24));
    pending->offset = kSectorBytes * (random_() % kSectors);
    pending->length = std::min(pending->length, kSize - pending->offset);
    pending->op = kOps[random_() % std::size(kOps)];
    for (const auto& [tag, other] : pending_) {
      if (pending->offset < other->offset + other->length &&
          other->offset < pending->offset + pending->length) {
        return true;  // requests that overlap have no order
      }
    }
    prepare(*pending);
    BlockRequest request{pending->op,     random_() % 2 == 0, pending->offset,
                         pending->length, pending->parts,     driver().new_tag()};
    const int refused = queue_->submit(request);
    if (refused == EAGAIN) return false;
    EXPECT_EQ(0, refused);
    apply(*pending);
    pending_[request.tag] = std::move(pending);
    if (random_() % 4 == 0) queue_->kick();
    return true;
  }
  void prepare(Pending& pending) {
    if (pending.op != BlockOp::kRead && pending.op != BlockOp::kWrite) return;
    pending.slack = random_() % 3 == 0 ? random_() % 512 : 0;
    pending.memory = pattern(pending.length + pending.slack + 512, random_());
    auto* const aligned = pending.memory.data() +
                          (512 - reinterpret_cast<uintptr_t>(pending.memory.data()) % 512) % 512;
    const size_t room =
        pending.memory.size() - static_cast<size_t>(aligned - pending.memory.data());
    std::byte* const start = aligned + std::min(pending.slack, room - pending.length);
    const size_t unit = pending.slack == 0 ? kSectorBytes : 1 + random_() % 3000;
    for (size_t at = 0; at < pending.length;) {
      const size_t length = std::min<size_t>(unit * (1 + random_() % 40), pending.length - at);
      pending.parts.push_back({start + at, length});
      at += length;
    }
  }
  void apply(Pending& pending) {
    const auto at = model_.begin() + static_cast<ptrdiff_t>(pending.offset);
    const auto length = static_cast<ptrdiff_t>(pending.length);
    if (pending.op == BlockOp::kRead) pending.expected.assign(at, at + length);
    if (pending.op == BlockOp::kWrite) {
      auto to = at;
      for (const iovec& part : pending.parts) {
        const auto* const from = static_cast<const std::byte*>(part.iov_base);
        to = std::copy(from, from + part.iov_len, to);
      }
    }
    if (pending.op == BlockOp::kWriteZeroes || pending.op == BlockOp::kDiscard) {
      std::fill(at, at + length, std::byte{0});
    }
  }
  void check_completed() {
    for (auto it = pending_.begin(); it != pending_.end();) {
      if (!driver().completed(it->first)) {
        ++it;
        continue;
      }
      const Pending& pending = *it->second;
      ASSERT_EQ(0, driver().take_error(it->first)) << static_cast<int>(pending.op);
      if (pending.op == BlockOp::kRead) {
        std::vector<std::byte> got;
        for (const iovec& part : pending.parts) {
          const auto* const from = static_cast<const std::byte*>(part.iov_base);
          got.insert(got.end(), from, from + part.iov_len);
        }
        ASSERT_TRUE(got == pending.expected)
            << "read of " << pending.length << " at " << pending.offset;
      }
      it = pending_.erase(it);
    }
  }

  static constexpr std::array kOps{BlockOp::kRead,    BlockOp::kRead,        BlockOp::kRead,
                                   BlockOp::kWrite,   BlockOp::kWrite,       BlockOp::kWrite,
                                   BlockOp::kDiscard, BlockOp::kWriteZeroes, BlockOp::kFlush};
  std::mt19937 random_;
  std::vector<std::byte> model_ = std::vector<std::byte>(kSize);
  std::map<uint64_t, std::unique_ptr<Pending>> pending_;
};

INSTANTIATE_TEST_SUITE_P(Kinds, DiskModel,
                         ::testing::Values(DiskKind::kUringDirect, DiskKind::kUringCached,
                                           DiskKind::kThreadsDirect, DiskKind::kThreadsCached,
                                           DiskKind::kNbd, DiskKind::kNbdPlain),
                         kind_name);

TEST_P(DiskModel, RandomRequestsAgreeWithTheModel) {
  GODWIT_OPEN_OR_SKIP(kSize);
  reopen(",queue-size=64");
  const auto seed = static_cast<unsigned>(::testing::UnitTest::GetInstance()->random_seed());
  SCOPED_TRACE(::testing::Message() << "seed " << seed);
  random_.seed(seed);
  for (int i = 0; i < 4000 && !HasFailure(); ++i) {
    if (!submit_random()) {
      queue_->kick();
      ASSERT_TRUE(driver().wait_some());
    } else {
      driver().reap_now();
    }
    check_completed();
  }
  queue_->kick();
  ASSERT_TRUE(driver().wait_all());
  check_completed();
  ASSERT_TRUE(pending_.empty());
  ASSERT_EQ(0, driver().flush());
  std::vector<std::byte> whole(kSize);
  ASSERT_EQ(0, driver().read(0, whole));
  EXPECT_TRUE(whole == model_);
  EXPECT_EQ(file_size(path_), kSize);
}

}  // namespace
}  // namespace godwit::devices
