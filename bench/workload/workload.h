// The built-in workload guest (README.md), compiled with the project.
#pragma once
#include <cstddef>
#include <span>

namespace godwit::bench {

// An ELF64 with a PVH note, ready for `--kernel builtin:workload` or a file for another VMM.
std::span<const std::byte> workload_elf();

}  // namespace godwit::bench
