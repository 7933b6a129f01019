#include "vmm/base/check.h"

#include <cstdio>
#include <cstdlib>

namespace godwit {

void check_failed(const char* condition, const char* file, int line, const char* what) {
  std::fprintf(stderr, "godwit: bug at %s:%d: %s is false: %s\n", file, line, condition, what);
  std::abort();
}

}  // namespace godwit
