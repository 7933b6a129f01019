#include "migration/report.h"

namespace godwit::migration {

std::string_view status_name(Status status) {
  switch (status) {
    case Status::kNone:
      return "none";
    case Status::kSetup:
      return "setup";
    case Status::kActive:
      return "active";
    case Status::kDevice:
      return "device";
    case Status::kCompleted:
      return "completed";
    case Status::kCancelling:
      return "cancelling";
    case Status::kCancelled:
      return "cancelled";
    case Status::kFailed:
      return "failed";
    case Status::kUnknown:
      return "unknown";
  }
  return "none";
}

std::string_view phase_name(Phase phase) {
  switch (phase) {
    case Phase::kStop:
      return "stop";
    case Phase::kQuiesce:
      return "quiesce";
    case Phase::kSave:
      return "save";
    case Phase::kFinalHarvest:
      return "final-harvest";
    case Phase::kSend:
      return "send";
    case Phase::kLoad:
      return "load";
    case Phase::kCommit:
      return "commit";
    case Phase::kResume:
      return "resume";
  }
  return "";
}

}  // namespace godwit::migration
