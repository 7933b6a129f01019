// The receiver of storage frames, fed with anything. The checksums of a frame's head would stop
// nearly every mutation, so the fuzzer's bytes describe frames and this makes the checksums right.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "migration/storage/storage_receiver.h"

using namespace godwit;
using namespace godwit::migration;

namespace {

constexpr uint64_t kBytes = 20 * vmm::kStorageGranule + 512;

// Aborts when it is asked for anything outside of itself.
class BoundedVolume final : public vmm::StorageVolume {
 public:
  const vmm::VolumeDescription& description() const override { return description_; }
  void start_tracking() override {}
  void harvest(vmm::DirtyBitmap&) override {}
  void stop_tracking() noexcept override {}
  uint64_t next_data(uint64_t offset) override { return offset; }
  Result<> read(uint64_t, std::span<std::byte>) override { return {}; }
  Result<> write(uint64_t offset, std::span<const std::byte> from) override {
    check(offset, from.size());
    // Every byte is there to be read.
    for (const std::byte b : from) sum_ = sum_ ^ std::to_integer<int>(b);
    return {};
  }
  Result<> write_zeroes(uint64_t offset, uint64_t length) override {
    check(offset, length);
    return {};
  }
  Result<> flush() override { return {}; }
  void keep() override {}

 private:
  static void check(uint64_t offset, uint64_t length) {
    if (length == 0 || offset > kBytes || length > kBytes - offset) std::abort();
  }
  const vmm::VolumeDescription description_{"disk0", kBytes, ""};
  volatile int sum_ = 0;
};

// Hands out fixed bytes, then ends.
class ReplayChannel final : public Channel {
 public:
  explicit ReplayChannel(std::span<const std::byte> bytes) : bytes_(bytes) {}
  Result<> send(std::span<const ConstBuffer>) override { return {}; }
  Result<> flush() override { return {}; }
  Result<> receive(std::span<const MutableBuffer> buffers) override {
    for (const MutableBuffer b : buffers) {
      if (b.size() > bytes_.size()) return Error{Errc::kIo, "end"};
      std::memcpy(b.data(), bytes_.data(), b.size());
      bytes_ = bytes_.subspan(b.size());
    }
    return {};
  }
  Result<bool> wait_readable(Nanoseconds) override { return true; }
  void set_timeout(Nanoseconds) override {}
  void shutdown() noexcept override {}
  bool authenticated() const override { return true; }
  ChannelStats stats() const override { return {}; }
  std::string peer() const override { return "fuzz"; }

 private:
  std::span<const std::byte> bytes_;
};

std::vector<std::byte> frames_from(std::span<const std::byte> input) {
  ByteWriter out;
  ByteReader in(input, "input");
  while (in.remaining() >= 12 && out.size() < (4u << 20)) {
    StorageFrame frame{.pass = 1};
    frame.kind = static_cast<StorageFrameKind>(in.u8() % 6);
    frame.codec = static_cast<Codec>(in.u8() % 3);
    frame.volume = in.u8() % 3;
    const uint8_t shape = in.u8();
    frame.offset = (shape & 1) != 0 ? in.u8() % 22 * vmm::kStorageGranule : in.u64();
    frame.length = (shape & 2) != 0 ? in.u16() * 512u : in.u64();
    frame.payload_bytes = (shape & 4) != 0 ? static_cast<uint32_t>(frame.length) : in.u16();
    encode_storage_frame(frame, out);
    std::vector<std::byte> payload(std::min<size_t>(frame.payload_bytes, kMaxStorageChunk));
    const auto given = in.bytes(std::min(in.remaining(), payload.size()));
    std::ranges::copy(given, payload.begin());
    out.bytes(payload);
  }
  return out.take();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  for (const bool fixed : {false, true}) {
    const auto stream = fixed ? frames_from(bytes) : std::vector(bytes.begin(), bytes.end());
    BoundedVolume volume;
    ReplayChannel channel(stream);
    StorageReceiver receiver({&volume, &volume}, false);
    (void)receiver.receive_pass(channel, 1);
  }
  return 0;
}
