// Any file as a kernel: it loads or it is refused; never a crash, and what it asks for stays in
// RAM. Input: one byte of options (memory size, initrd, command line, RSDP), then the file.
#include <cstdint>
#include <cstdlib>
#include <memory>

#include "vmm/boot/boot_layout.h"
#include "vmm/boot/kernel.h"

namespace {

using namespace godwit;       // NOLINT(google-build-using-namespace)
using namespace godwit::vmm;  // NOLINT(google-build-using-namespace)

void require(bool condition) {
  if (!condition) std::abort();
}

void check_entry(const GuestMemory& memory, const BootEntry& entry) {
  require(memory.at(entry.entry, ByteCount{1}).has_value());
  require(entry.entry < kHoleStart && entry.entry >= kBootStructuresEnd);
  require(entry.parameters == kPvhStartInfo || entry.parameters == kZeroPage);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const unsigned options = data[0];
  const ByteCount memory_size = (options & 1) != 0 ? 5_GiB : 16_MiB;
  const auto memory = GuestMemory::create({.size = memory_size}).value();
  const std::span file(reinterpret_cast<const std::byte*>(data + 1), size - 1);
  const Image kernel = Image::of(file, "kernel");
  const Image initrd = Image::of(file.first(file.size() / 2), "initrd");
  BootRequest request{.kernel = kernel};
  if ((options & 2) != 0) request.initrd = &initrd;
  if ((options & 4) != 0) request.command_line = std::string(options * 4U, 'c');
  if ((options & 8) != 0) request.acpi_rsdp = kAcpiTables;
  const auto entry = load_kernel(*memory, request);
  if (entry) {
    check_entry(*memory, *entry);
  } else {
    require(!entry.error().message.empty() && memory->touched().empty());
  }
  return 0;
}
