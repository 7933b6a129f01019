#include "migration/engine/thread_util.h"

#include <fmt/format.h>
#include <pthread.h>

#include <ctime>

namespace godwit::migration {

void name_thread(const char* prefix, uint32_t index) {
  char name[16];
  const auto end = fmt::format_to_n(name, sizeof name - 1, "{}{}", prefix, index);
  *end.out = '\0';
  pthread_setname_np(pthread_self(), name);
}

Nanoseconds thread_cpu_time() {
  timespec t{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return std::chrono::seconds(t.tv_sec) + Nanoseconds(t.tv_nsec);
}

}  // namespace godwit::migration
