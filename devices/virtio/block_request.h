// A request of a virtio-blk driver, taken apart (virtio 1.2, 5.2.6). Where one part ends and the
// next begins is the driver's choice, whatever the buffers (2.7.4): a header of 16 bytes and the
// data to write in what is readable, the data to read and a status byte in what is writable.
#pragma once
#include <sys/uio.h>

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "devices/block/block.h"
#include "devices/virtio/queue.h"

namespace godwit::devices::virtio {

inline constexpr uint8_t kBlockOk = 0;
inline constexpr uint8_t kBlockError = 1;
inline constexpr uint8_t kBlockUnsupported = 2;

// A request that is on its way. Reused: its vectors keep their storage.
struct BlockSlot {
  Chain chain;
  std::vector<iovec> iov;
  std::byte* status = nullptr;  // in guest memory
  uint16_t index = 0;
  // What the request changes of the disk.
  uint64_t changes_from = 0;
  uint64_t changes_length = 0;
};

// What to do with a chain: a request for the host, or an answer at once.
struct BlockAction {
  std::optional<uint8_t> answer;
  BlockRequest request;
};

// Fills slot.iov and slot.status from slot.chain, which has a header and a status byte (else
// has_frame() is false). `serial`: what a driver is told that asks for it, at most 20 bytes.
bool has_frame(const Chain& chain);
BlockAction read_block_request(BlockSlot& slot, std::string_view serial);

}  // namespace godwit::devices::virtio
