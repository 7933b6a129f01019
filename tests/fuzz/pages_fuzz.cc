// The receiver of page frames, fed with anything. The checksums of a frame's head would stop nearly
// every mutation, so the fuzzer's bytes describe frames and this makes the checksums right.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "migration/page/page_receiver.h"

using namespace godwit;
using namespace godwit::migration;

namespace {

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

// Frames with right checksums around the fuzzer's fields, groups and payload.
std::vector<std::byte> frames_from(std::span<const std::byte> input) {
  ByteWriter out;
  ByteReader in(input, "input");
  while (in.remaining() >= 12 && out.size() < (1u << 20)) {
    FrameHeader header;
    header.kind = static_cast<FrameKind>(in.u8() % 3);
    header.codec = static_cast<Codec>(in.u8() % 3);
    const uint8_t groups = in.u8() % 5;
    header.iteration = in.u8() % 2;
    header.data_pages = in.u16() % 70;
    header.payload_bytes = header.codec == Codec::kRaw ? header.data_pages * 4096 : in.u16();
    std::vector<PageGroup> list;
    for (int i = 0; i < groups; ++i) list.push_back({in.u16(), in.u64(), in.u64()});
    encode_frame(header, list, out);
    std::vector<std::byte> payload(std::min<size_t>(header.payload_bytes, kMaxPayloadBytes));
    const auto given = in.bytes(std::min(in.remaining(), payload.size()));
    std::ranges::copy(given, payload.begin());
    out.bytes(payload);
  }
  return out.take();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const auto memory = vmm::GuestMemory::create({.size = 16_MiB}).value();
  vmm::DirtyBitmap populated(memory->page_count());
  const auto bytes = std::as_bytes(std::span(data, size));
  for (const bool fixed : {false, true}) {
    const auto stream = fixed ? frames_from(bytes) : std::vector(bytes.begin(), bytes.end());
    ReplayChannel channel(stream);
    PageReceiver receiver(*memory, populated, false);
    (void)receiver.receive_iteration(channel, 1);
  }
  return 0;
}
