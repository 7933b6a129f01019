// What every channel must do, plain or TLS: run against a connected pair.
#pragma once
#include "migration/channel.h"

namespace godwit::migration {

// Streams `total` random bytes in each direction at once would need two threads per end; a channel
// allows one. So: one way in sends of random sizes and gathers, received in other random sizes,
// then the other way.
void exercise_integrity(Channel& a, Channel& b, uint32_t seed);
// The peer reads nothing: a send ends with kTimeout; nothing comes: a receive does.
void exercise_timeouts(Channel& a);
// shutdown() from another thread while `a` blocks in send, or in receive.
void exercise_shutdown_of_send(Channel& a);
void exercise_shutdown_of_receive(Channel& a);

}  // namespace godwit::migration
