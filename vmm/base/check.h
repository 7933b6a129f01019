// Checks for our own bugs: they abort. Bytes from outside never reach one.
#pragma once

namespace godwit {
[[noreturn]] void check_failed(const char* condition, const char* file, int line, const char* what);
}  // namespace godwit

#define GODWIT_CHECK(condition, what)                               \
  do {                                                              \
    if (!(condition)) [[unlikely]]                                  \
      ::godwit::check_failed(#condition, __FILE__, __LINE__, what); \
  } while (false)
