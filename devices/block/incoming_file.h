// A file or block device of this host that takes the content of an arriving guest's disk
// (--copy-storage).
#pragma once
#include <memory>
#include <string>

#include "devices/block/config.h"
#include "devices/block/file_backend.h"
#include "vmm/storage.h"

namespace godwit::devices {

// Until keep() it is no disk that anybody should use: the destructor removes a file that was made
// for it, and says of another one, if it was written to, that it is incomplete.
class IncomingFile {
 public:
  // Opens the file of `config` for writing, whatever its guest may do with it; with create=on makes
  // one that is not there. Errors name the disk: the backend's; kIncompatible for another size;
  // kPrecondition when it is the source's own file, or may be; kInvalidArgument for a disk that
  // both sides would share; kExhausted.
  static Result<std::unique_ptr<IncomingFile>> open(const DiskConfig& config,
                                                    const vmm::VolumeDescription& volume);
  ~IncomingFile();
  IncomingFile(const IncomingFile&) = delete;
  IncomingFile& operator=(const IncomingFile&) = delete;

  [[nodiscard]] FileBackend& writer() { return *writer_; }
  void written() { written_ = true; }
  void keep() { kept_ = true; }

 private:
  explicit IncomingFile(const DiskConfig& config) : config_(config) {}
  Result<> create(uint64_t size_bytes);
  void remove() noexcept;

  const DiskConfig config_;  // with readonly taken back
  std::unique_ptr<FileBackend> writer_;
  bool created_ = false;
  bool written_ = false;
  bool kept_ = false;
};

// Whether the disk has to wait for a guest that brings its content: create=on, and no file there.
// Errors: its directory is not there or cannot be written to.
Result<bool> awaits_content(const DiskConfig& config);

}  // namespace godwit::devices
