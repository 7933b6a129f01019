// Every decoder of the control protocol, fed with anything.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include "migration/storage/storage_frame.h"
#include "migration/wire/messages.h"
#include "vmm/state/sections.h"

using namespace godwit;
using namespace godwit::migration::wire;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const auto bytes = std::as_bytes(std::span(data + 1, size - 1));
  switch (data[0] % 16) {
    case 0:
      (void)decode_preamble(bytes);
      break;
    case 1:
      (void)decode_hello(bytes);
      break;
    case 2:
      (void)decode_hello_ack(bytes);
      break;
    case 3:
      (void)decode_ping(bytes);
      break;
    case 4:
      (void)decode_pong(bytes);
      break;
    case 5:
      (void)decode_residue(bytes);
      break;
    case 6:
      (void)decode_state(bytes);
      break;
    case 7:
      (void)decode_loaded(bytes);
      break;
    case 8:
      (void)decode_resumed(bytes);
      break;
    case 9:
      (void)decode_outcome(bytes);
      break;
    case 10:
      (void)decode_text(bytes);
      break;
    case 11:
      (void)vmm::read_sections(bytes);
      break;
    case 12:
      if (const auto settled = decode_settled(bytes)) (void)result_of(*settled);
      break;
    case 14: {
      std::array<std::byte, migration::kStorageFrameBytes> head{};
      std::copy_n(bytes.begin(), std::min(bytes.size(), head.size()), head.begin());
      constexpr uint64_t kSizes[] = {512, uint64_t{1} << 40};
      (void)migration::decode_storage_frame(head, kSizes);
      break;
    }
    case 15: {
      std::array<std::byte, migration::kStorageAckBytes> ack{};
      std::copy_n(bytes.begin(), std::min(bytes.size(), ack.size()), ack.begin());
      (void)migration::decode_storage_ack(ack);
      break;
    }
    case 13: {
      ByteReader in(bytes, "machine");
      (void)vmm::decode_machine_description(in);
      break;
    }
  }
  return 0;
}
