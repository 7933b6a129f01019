// The foreground processes: a guest's VMM from its start to its end.
#pragma once
#include "tools/godwit/process/options.h"

namespace godwit::tools {

// Runs until the guest is over or has moved away. The exit status: 0 after power-off, stop,
// a signal, a migration, or a reset that is not to be a reboot; (code << 1) | 1 after the guest
// wrote code to its debug-exit port (as QEMU's isa-debug-exit). Errors: why there was no guest.
Result<int> run_guest(const RunOptions& options);

// Waits for a guest, then as run_guest(). 1 when the migration failed, 5 when it was cancelled,
// here (by a signal as well) or at the source; the reason is logged.
Result<int> receive_guest(const ReceiveOptions& options);

}  // namespace godwit::tools
