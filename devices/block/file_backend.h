// Disks that are raw files or block devices of this host.
//
// O_DIRECT is taken where the file system has it, so that the host's memory is not filled with a
// second copy of what the guest caches, and both hosts of a migration see the same bytes. The
// alignment that it asks for comes from statx (Linux 6.1), or is found by trying.
#pragma once
#include <memory>

#include "devices/block/block.h"
#include "devices/block/config.h"
#include "devices/block/file_transfer.h"
#include "vmm/base/fd.h"

namespace godwit::devices {

class FileBackend final : public BlockBackend {
 public:
  // Errors name the path: kNotFound, kPermission, kInvalidArgument (no regular file or block
  // device, a size that is no multiple of 512, mounted), kUnsupported (direct=on).
  static Result<std::unique_ptr<FileBackend>> open(const DiskConfig& config);

  [[nodiscard]] const BlockInfo& info() const override { return info_; }
  Result<std::unique_ptr<BlockQueue>> create_queue() override;
  Result<> invalidate_cache() override;
  [[nodiscard]] uint64_t next_data(uint64_t offset) const override;
  // Of a block device its worldwide name, if it has one: the same on every host that reaches it.
  [[nodiscard]] std::string identity() const override;
  // Whether its file system is one that several hosts may have mounted at the same time.
  [[nodiscard]] bool on_network_file_system() const;
  [[nodiscard]] std::string description() const override;

  // A second open file description of the very same file, for its locks. Errors: kNotFound or
  // kPrecondition when the path leads elsewhere by now.
  [[nodiscard]] Result<UniqueFd> reopen() const;

 private:
  FileBackend(const DiskConfig& config, UniqueFd fd);
  Result<> look(bool is_device);
  Result<> look_at_file();
  Result<> look_at_device();
  Result<> choose_direct();
  Result<> check_size() const;

  const DiskConfig config_;
  UniqueFd fd_;
  bool is_device_ = false;
  BlockFile file_;
  BlockInfo info_;
};

}  // namespace godwit::devices
