// Starting a QEMU process: its command line and its descriptors.
#pragma once
#include <sys/types.h>

#include <string>
#include <vector>

#include "bench/qemu/qemu_process.h"
#include "vmm/base/error.h"
#include "vmm/base/fd.h"

namespace godwit::bench {

struct LaunchedQemu {
  pid_t pid = -1;
  UniqueFd pid_fd;
  UniqueFd qmp;  // connected
  SerialClient serial;
  std::filesystem::path log_path;
};

// QEMU's arguments; it inherits the listening sockets `qmp_fd` and `serial_fd` by these numbers.
std::vector<std::string> qemu_arguments(const QemuOptions& options, int qmp_fd, int serial_fd);

// The sockets are made and connected here before QEMU exists, so nothing has to be waited for and
// no byte of the serial port is lost.
Result<LaunchedQemu> launch_qemu(const QemuOptions& options);

}  // namespace godwit::bench
