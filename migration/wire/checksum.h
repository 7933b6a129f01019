// XXH3-64 over bytes that do not lie behind one another.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <span>

#include "migration/wire/xxh3.h"

namespace godwit::migration {

// Reusable; allocates once. Not thread-safe.
class StreamingChecksum {
 public:
  StreamingChecksum() : state_(XXH3_createState()) {
    if (!state_) throw std::bad_alloc();
  }
  void reset(uint64_t seed = 0) { XXH3_64bits_reset_withSeed(state_.get(), seed); }
  void update(std::span<const std::byte> bytes) {
    XXH3_64bits_update(state_.get(), bytes.data(), bytes.size());
  }
  [[nodiscard]] uint64_t digest() const { return XXH3_64bits_digest(state_.get()); }

 private:
  struct Free {
    void operator()(XXH3_state_t* state) const { XXH3_freeState(state); }
  };
  std::unique_ptr<XXH3_state_t, Free> state_;
};

}  // namespace godwit::migration
