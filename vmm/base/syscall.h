// Host calls that must not fail: a failure is a std::system_error that names the call.
#pragma once
#include <string_view>

namespace godwit {

// Throws std::system_error(errno, what).
[[noreturn]] void throw_errno(std::string_view what);

// Returns `result`, or throws when it is -1.
template <class T>
T check_syscall(T result, std::string_view what) {
  if (result == static_cast<T>(-1)) throw_errno(what);
  return result;
}

}  // namespace godwit
