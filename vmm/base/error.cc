#include "vmm/base/error.h"

#include <cerrno>
#include <system_error>

namespace godwit {

std::string_view errc_name(Errc code) {
  switch (code) {
    case Errc::kInvalidArgument:
      return "invalid-argument";
    case Errc::kNotFound:
      return "not-found";
    case Errc::kAlreadyExists:
      return "already-exists";
    case Errc::kPermission:
      return "permission";
    case Errc::kUnsupported:
      return "unsupported";
    case Errc::kIncompatible:
      return "incompatible";
    case Errc::kCorrupt:
      return "corrupt";
    case Errc::kProtocol:
      return "protocol";
    case Errc::kIo:
      return "io";
    case Errc::kTimeout:
      return "timeout";
    case Errc::kCancelled:
      return "cancelled";
    case Errc::kExhausted:
      return "exhausted";
    case Errc::kPrecondition:
      return "precondition";
    case Errc::kUnknownOutcome:
      return "unknown-outcome";
  }
  return "unknown";
}

Error Error::with_context(std::string_view prefix) const {
  return Error{code, fmt::format("{}: {}", prefix, message)};
}

void throw_exception_from_error(const Error& error, const boost::source_location&) {
  throw ErrorException(error);
}

namespace {
Errc code_for_errno(int value) {
  switch (value) {
    case ENOENT:
    case ENODEV:
      return Errc::kNotFound;
    case EEXIST:
    case EADDRINUSE:
      return Errc::kAlreadyExists;
    case EACCES:
    case EPERM:
      return Errc::kPermission;
    case EINVAL:
      return Errc::kInvalidArgument;
    case ENOMEM:
    case ENOSPC:
    case EMFILE:
    case ENFILE:
      return Errc::kExhausted;
    case ETIMEDOUT:
      return Errc::kTimeout;
    case ENOSYS:
    case EOPNOTSUPP:
      return Errc::kUnsupported;
    default:
      return Errc::kIo;
  }
}
}  // namespace

Error error_from_errno(int errno_value, std::string_view text) {
  return make_error(code_for_errno(errno_value), "{} (errno {}: {})", text, errno_value,
                    std::generic_category().message(errno_value));
}

}  // namespace godwit
