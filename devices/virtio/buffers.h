// Copying out of and into the buffers of a request.
#pragma once
#include <span>

#include "devices/virtio/queue.h"

namespace godwit::devices::virtio {

// Both begin `offset` bytes into the buffers and return how many bytes there were: less than asked
// for where the buffers end. What copy_in() wrote is the caller's to mark (Queue::push).
size_t copy_out(std::span<const Buffer> buffers, uint64_t offset, std::span<std::byte> to);
size_t copy_in(std::span<const Buffer> buffers, uint64_t offset, std::span<const std::byte> from);

}  // namespace godwit::devices::virtio
