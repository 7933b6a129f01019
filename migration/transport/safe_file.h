// Small files read with a cap and written so that nobody ever sees half of one.
#pragma once
#include <sys/stat.h>

#include <filesystem>
#include <string>
#include <string_view>

#include "vmm/base/error.h"

namespace godwit::migration {

inline constexpr size_t kMaxSmallFileBytes = 1 << 20;

struct SmallFile {
  std::string content;
  mode_t mode = 0;  // of the very file that was read
};
// Errors: kNotFound, kPermission, kInvalidArgument (no regular file, or longer than the cap), kIo.
Result<SmallFile> read_small_file(const std::filesystem::path& path);

// Writes aside, syncs, renames. Without `replace` an existing file is kAlreadyExists, also when it
// appears meanwhile.
Result<> write_file_atomically(const std::filesystem::path& path, std::string_view content,
                               mode_t mode, bool replace);

}  // namespace godwit::migration
