// The data path allocates nothing once it is set up.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <new>

#include "migration/page/page_receiver.h"
#include "migration/page/page_sender.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define GODWIT_COUNTS_ALLOCATIONS 0
#else
#define GODWIT_COUNTS_ALLOCATIONS 1
#endif

namespace {
std::atomic<uint64_t> allocations{0};
}

#if GODWIT_COUNTS_ALLOCATIONS
void* operator new(size_t size) {
  ++allocations;
  if (void* p = std::malloc(size)) return p;
  throw std::bad_alloc();
}
void operator delete(void* p) noexcept {
  std::free(p);
}
void operator delete(void* p, size_t) noexcept {
  std::free(p);
}
#endif

namespace godwit::migration {
namespace {

// Keeps what is sent in a buffer of fixed size and plays it back.
class BufferChannel final : public Channel {
 public:
  explicit BufferChannel(size_t capacity) { buffer_.reserve(capacity); }
  Result<> send(std::span<const ConstBuffer> buffers) override {
    for (const ConstBuffer b : buffers) buffer_.insert(buffer_.end(), b.begin(), b.end());
    return {};
  }
  Result<> flush() override { return {}; }
  Result<> receive(std::span<const MutableBuffer> buffers) override {
    for (const MutableBuffer b : buffers) {
      std::copy_n(buffer_.begin() + static_cast<ptrdiff_t>(read_), b.size(), b.begin());
      read_ += b.size();
    }
    return {};
  }
  Result<bool> wait_readable(Nanoseconds) override { return true; }
  void set_timeout(Nanoseconds) override {}
  void shutdown() noexcept override {}
  bool authenticated() const override { return false; }
  ChannelStats stats() const override { return {}; }
  std::string peer() const override { return "buffer"; }
  void clear() {
    buffer_.clear();
    read_ = 0;
  }

 private:
  std::vector<std::byte> buffer_;
  size_t read_ = 0;
};

TEST(Allocations, NoneWhileIterating) {
  if (!GODWIT_COUNTS_ALLOCATIONS) GTEST_SKIP() << "a sanitizer owns operator new";
  const auto source = vmm::GuestMemory::create({.size = 16_MiB}).value();
  const auto target = vmm::GuestMemory::create({.size = 16_MiB}).value();
  vmm::DirtyBitmap dirty(source->page_count());
  vmm::DirtyBitmap populated(source->page_count());
  for (uint64_t p = 0; p < source->page_count(); p += 1 + p % 5) {
    *source->page(PageIndex{p}) = std::byte(p % 3);
    dirty.set(PageIndex{p});
  }
  BufferChannel channel(32u << 20);
  PageSender sender(*source, {.compression = Compression::kAuto});
  PageReceiver receiver(*target, populated, true);
  const uint64_t before = allocations;
  for (uint32_t iteration = 1; iteration <= 4; ++iteration) {
    channel.clear();
    ASSERT_TRUE(sender.send_iteration(channel, dirty, iteration, {0, 1}));
    ASSERT_TRUE(receiver.receive_iteration(channel, iteration));
  }
  EXPECT_EQ(allocations - before, 0u);
}

}  // namespace
}  // namespace godwit::migration
