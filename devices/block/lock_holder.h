// Who holds the locks of a file, for error texts.
#pragma once
#include <string>

namespace godwit::devices {

// "held by process 123 (godwit)" for each process of this host that has lock bytes of the file
// behind `fd` in [first, last], this one included unless only `fd` has them. The kernel tells no
// pid for locks of open file descriptions, so /proc/PID/fdinfo is searched, as far as we may read
// it. Otherwise: that nobody here was found, so another host or another user's process has it.
std::string describe_lock_holder(int fd, uint64_t first, uint64_t last);

}  // namespace godwit::devices
