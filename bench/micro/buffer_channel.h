// Channels without a network: what is left is the cost of everything else.
#pragma once
#include <cstring>
#include <string>
#include <vector>

#include "migration/channel.h"

namespace godwit::bench {

class NullChannel : public migration::Channel {
 public:
  Result<> send(std::span<const migration::ConstBuffer>) override { return {}; }
  Result<> flush() override { return {}; }
  Result<> receive(std::span<const migration::MutableBuffer>) override { return {}; }
  Result<bool> wait_readable(Nanoseconds) override { return true; }
  void set_timeout(Nanoseconds) override {}
  void shutdown() noexcept override {}
  [[nodiscard]] bool authenticated() const override { return false; }
  [[nodiscard]] migration::ChannelStats stats() const override { return {}; }
  [[nodiscard]] std::string peer() const override { return "nobody"; }
};

// Keeps what is sent; receive() reads it from the beginning after rewind().
class BufferChannel final : public NullChannel {
 public:
  Result<> send(std::span<const migration::ConstBuffer> buffers) override {
    for (const auto b : buffers) bytes_.insert(bytes_.end(), b.begin(), b.end());
    return {};
  }
  Result<> receive(std::span<const migration::MutableBuffer> buffers) override {
    for (const auto b : buffers) {
      if (b.size() > bytes_.size() - read_) return Error{Errc::kIo, "nothing left to read"};
      std::memcpy(b.data(), bytes_.data() + read_, b.size());
      read_ += b.size();
    }
    return {};
  }
  void rewind() { read_ = 0; }

 private:
  std::vector<std::byte> bytes_;
  size_t read_ = 0;
};

}  // namespace godwit::bench
