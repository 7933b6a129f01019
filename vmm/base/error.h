// Errors that come from outside: a user, a file, a guest, a peer. See also check.h (our own bugs)
// and syscall.h (host calls that fail).
#pragma once
#include <fmt/core.h>

#include <boost/system/result.hpp>
#include <string>
#include <string_view>
#include <utility>

namespace godwit {

// What the handler of an error may decide on. The text says the rest.
enum class Errc {
  kInvalidArgument,  // a user's option or request cannot be meant
  kNotFound,         // a named thing does not exist
  kAlreadyExists,    // a name, port or file is taken
  kPermission,       // the host or the peer's identity forbids it
  kUnsupported,      // this host cannot do it
  kIncompatible,     // two hosts or versions differ in something that matters
  kCorrupt,          // bytes that fail their checks
  kProtocol,         // well-formed bytes at the wrong time
  kIo,               // link, disk or device failed
  kTimeout,          // nothing happened for too long
  kCancelled,        // somebody asked to stop
  kExhausted,        // no memory, space or descriptors left
  kPrecondition,     // the state of the guest does not allow it
  kUnknownOutcome,   // the one window named in PROTOCOL.md: nobody here can tell
};

// "invalid-argument", "not-found", ...: stable names for logs and the API.
std::string_view errc_name(Errc code);

// `message` is a full sentence without a final stop: what failed, on what, with which values, and
// what to do about it.
struct Error {
  Errc code = Errc::kIo;
  std::string message;

  // The same error seen from one level up: "PREFIX: message".
  [[nodiscard]] Error with_context(std::string_view prefix) const;
};

template <class T = void>
using Result = boost::system::result<T, Error>;

// What Result::value() throws: for tools and tests, which have no better answer.
class ErrorException : public std::runtime_error {
 public:
  explicit ErrorException(const Error& error) : std::runtime_error(error.message), error_(error) {}
  [[nodiscard]] const Error& error() const { return error_; }

 private:
  Error error_;
};
[[noreturn]] void throw_exception_from_error(const Error& error,
                                             const boost::source_location& where);

template <class... Args>
[[nodiscard]] Error make_error(Errc code, fmt::format_string<Args...> format, Args&&... args) {
  return Error{code, fmt::vformat(format, fmt::make_format_args(args...))};
}

// "Text (errno 2: No such file or directory)", with a code that fits the errno.
[[nodiscard]] Error error_from_errno(int errno_value, std::string_view text);

}  // namespace godwit

// Returns the error of a Result from the enclosing function, or goes on.
#define GODWIT_TRY(expression)                                \
  do {                                                        \
    auto godwit_try_result = (expression);                    \
    if (!godwit_try_result) return godwit_try_result.error(); \
  } while (false)

#define GODWIT_CONCAT_INNER(a, b) a##b
#define GODWIT_CONCAT(a, b) GODWIT_CONCAT_INNER(a, b)
#define GODWIT_ASSIGN_INNER(temporary, lhs, expression) \
  auto temporary = (expression);                        \
  if (!temporary) return temporary.error();             \
  lhs = std::move(*temporary)
// GODWIT_ASSIGN(auto x, f()): x is the value of f(), or the error is returned.
#define GODWIT_ASSIGN(lhs, expression) \
  GODWIT_ASSIGN_INNER(GODWIT_CONCAT(godwit_assign_, __LINE__), lhs, expression)
