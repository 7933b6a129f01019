// What one sender did, readable while it works.
#pragma once
#include <atomic>
#include <cstdint>

namespace godwit::migration {

struct PageCounts {
  uint64_t normal = 0;     // pages sent with content
  uint64_t duplicate = 0;  // pages sent as zero
  uint64_t free = 0;       // pages left out, because the guest does not use them
  uint64_t lz4_pages = 0;  // of the normal ones
  uint64_t lz4_bytes_in = 0;
  uint64_t lz4_bytes_out = 0;
  uint64_t frames = 0;
  uint64_t wire_bytes = 0;  // heads and payloads, without the transport's own framing

  PageCounts& operator+=(const PageCounts& o) {
    normal += o.normal;
    duplicate += o.duplicate;
    free += o.free;
    lz4_pages += o.lz4_pages;
    lz4_bytes_in += o.lz4_bytes_in;
    lz4_bytes_out += o.lz4_bytes_out;
    frames += o.frames;
    wire_bytes += o.wire_bytes;
    return *this;
  }
};

// Written by one thread, once per frame and at the end of an iteration; read by any.
class LivePageCounts {
 public:
  void publish(const PageCounts& c) {
    normal_.store(c.normal, std::memory_order_relaxed);
    duplicate_.store(c.duplicate, std::memory_order_relaxed);
    free_.store(c.free, std::memory_order_relaxed);
    lz4_pages_.store(c.lz4_pages, std::memory_order_relaxed);
    lz4_in_.store(c.lz4_bytes_in, std::memory_order_relaxed);
    lz4_out_.store(c.lz4_bytes_out, std::memory_order_relaxed);
    frames_.store(c.frames, std::memory_order_relaxed);
    wire_.store(c.wire_bytes, std::memory_order_relaxed);
  }
  [[nodiscard]] PageCounts read() const {
    return {normal_.load(std::memory_order_relaxed), duplicate_.load(std::memory_order_relaxed),
            free_.load(std::memory_order_relaxed),   lz4_pages_.load(std::memory_order_relaxed),
            lz4_in_.load(std::memory_order_relaxed), lz4_out_.load(std::memory_order_relaxed),
            frames_.load(std::memory_order_relaxed), wire_.load(std::memory_order_relaxed)};
  }

 private:
  std::atomic<uint64_t> normal_{0}, duplicate_{0}, free_{0}, lz4_pages_{0}, lz4_in_{0}, lz4_out_{0},
      frames_{0}, wire_{0};
};

}  // namespace godwit::migration
