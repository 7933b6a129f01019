#include "tests/e2e/tiny_guest.h"

#include <fstream>

#include "tests/boot/boot_images.h"

namespace godwit::e2e {

void write_tiny_guest(const std::filesystem::path& path, std::initializer_list<int> code) {
  vmm::test::TestElf elf = vmm::test::small_elf();
  vmm::test::Bytes& bytes = elf.segments.front().content;
  bytes.clear();
  for (const int byte : code) bytes.push_back(static_cast<std::byte>(byte));
  for (const int byte : {0xf4, 0xeb, 0xfd}) bytes.push_back(static_cast<std::byte>(byte));
  const vmm::test::Bytes file = elf.build();
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(file.data()), static_cast<std::streamsize>(file.size()));
}

}  // namespace godwit::e2e
