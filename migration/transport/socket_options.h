// The options of every data socket. A failure to set one is a std::system_error: the kernels that
// run KVM have them all. The TCP ones are skipped on Unix sockets.
#pragma once
#include "vmm/base/clock.h"

namespace godwit::migration {

// Non-blocking, close-on-exec, no Nagle delay, keep-alive with short intervals, TCP_NOTSENT_LOWAT.
void set_stream_options(int fd);
// TCP_USER_TIMEOUT (tcp(7)): the connection dies when sent bytes stay unacknowledged for so long.
void set_user_timeout(int fd, Nanoseconds timeout);
// SO_RCVLOWAT (socket(7)): poll() calls a TCP socket readable once so many bytes have come, the
// stream ended, or the receive buffer is full.
void set_wake_bytes(int fd, int bytes);
// Whether `fd` is a TCP socket.
bool is_tcp(int fd);

}  // namespace godwit::migration
