// Options that `run` and `receive` share. Only for the .cc files of this folder.
#pragma once
#include <string>

#include "devices/board.h"
#include "tools/godwit/cli/options.h"
#include "tools/godwit/process/boot_options.h"
#include "vmm/memory/guest_memory.h"
#include "vmm/vm.h"

namespace godwit::tools {

void add_name_option(CLI::App& command, std::string& name);
// --kernel, --initrd, --cmdline. `purpose` is the first sentence of the kernel's description.
CLI::Option* add_boot_options(CLI::App& command, BootOptions& boot, const std::string& purpose);
// --no-reboot.
void add_reboot_option(CLI::App& command, bool& reboot);
void add_console_option(CLI::App& command, std::string& console);
// 16M to 4T in steps of 2M.
CLI::Option* add_memory_size_option(CLI::App& command, ByteCount& size, const std::string& text);
void add_memory_backing_options(CLI::App& command, vmm::MemoryConfig& memory);
// Disks, networks and the like.
void add_device_options(CLI::App& command, devices::BoardConfig& devices);
void add_dirty_tracking_option(CLI::App& command, vmm::DirtyTracking& tracking);
// Which of the two was chosen; checked by require_security().
void add_security_options(CLI::App& command, std::string& tls_dir, bool& plaintext);
// Errors: neither or both were said. Makes `tls_dir` absolute.
Result<> require_security(std::string& tls_dir, bool plaintext);

// A migration's URL, in the form in which it was given.
Result<std::string> check_endpoint(const std::string& text);

}  // namespace godwit::tools
