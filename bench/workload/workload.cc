#include "bench/workload/workload.h"

extern "C" {
extern const std::byte godwit_workload_elf_begin[];
extern const std::byte godwit_workload_elf_end[];
}

namespace godwit::bench {

std::span<const std::byte> workload_elf() {
  return {godwit_workload_elf_begin, godwit_workload_elf_end};
}

}  // namespace godwit::bench
