// The exit statuses of `godwit`: part of its interface, they never change their meaning. The
// statuses of `run` and of `receive` after a guest has arrived are those of the guest's end
// (process/vmm_process.h).
#pragma once

namespace godwit::tools {

enum ExitStatus : int {
  kExitOk = 0,
  kExitFailed = 1,
  kExitUsage = 2,
  kExitNotFound = 3,        // no instance of that name runs
  kExitStaysAtSource = 4,   // the migration failed, the guest runs on at the source
  kExitCancelled = 5,       // the migration was cancelled, the guest runs on at the source
  kExitUnknownOutcome = 6,  // it may run at the target; it is paused at the source
  kExitDetached = 7,        // the user left; the migration goes on
};

}  // namespace godwit::tools
