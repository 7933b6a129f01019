#include "devices/block/incoming_file.h"

#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "vmm/base/fd.h"

namespace godwit::devices {
namespace {

std::string directory_of(const std::string& path) {
  const auto parent = std::filesystem::path(path).parent_path();
  return parent.empty() ? "." : parent.string();
}

// The name of a new file is on the disk for good as well.
void sync_directory(const std::string& path) {
  const UniqueFd fd(::open(directory_of(path).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (fd) (void)::fsync(fd.get());
}

}  // namespace

Result<bool> awaits_content(const DiskConfig& config) {
  struct stat status {};
  if (!config.create || ::stat(config.path.c_str(), &status) == 0) return false;
  if (errno == ENOENT && ::access(directory_of(config.path).c_str(), W_OK | X_OK) == 0) return true;
  return error_from_errno(
      errno, fmt::format("disk {}: no file can be made at {}", config.id, config.path));
}

Result<std::unique_ptr<IncomingFile>> IncomingFile::open(const DiskConfig& config,
                                                         const vmm::VolumeDescription& volume) {
  if (config.is_nbd() || config.share) {
    return make_error(Errc::kInvalidArgument,
                      "disk {}: the source copies its content (--copy-storage), but {} here is "
                      "shared; give the disk a path= of this host's own",
                      config.id, config.source());
  }
  DiskConfig writable = config;
  writable.read_only = false;
  std::unique_ptr<IncomingFile> file(new IncomingFile(writable));
  GODWIT_ASSIGN(const bool awaited, awaits_content(config));
  if (awaited) GODWIT_TRY(file->create(volume.size_bytes));
  GODWIT_ASSIGN(file->writer_, FileBackend::open(writable));
  if (!volume.identity.empty() && file->writer_->identity() == volume.identity) {
    return make_error(Errc::kPrecondition,
                      "disk {}: {} is the source's own disk: with --copy-storage the target needs "
                      "another one; where both hosts use the same disk, leave --copy-storage out",
                      config.id, config.path);
  }
  if (!config.lock && !awaited && file->writer_->on_network_file_system()) {
    return make_error(Errc::kPrecondition,
                      "disk {}: {} may be the source's own disk, since other hosts reach that file "
                      "system, and with lock=off nobody can tell; name a file that does not exist, "
                      "with create=on, or leave lock=off out",
                      config.id, config.path);
  }
  const uint64_t size = file->writer_->info().size_bytes;
  if (size != volume.size_bytes) {
    return make_error(Errc::kIncompatible,
                      "disk {}: {} has {} bytes and the source's disk {}; give it that size, or "
                      "name a file that does not exist, with create=on",
                      config.id, config.path, size, volume.size_bytes);
  }
  return file;
}

Result<> IncomingFile::create(uint64_t size_bytes) {
  const UniqueFd fd(
      ::open(config_.path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, S_IRUSR | S_IWUSR));
  if (!fd) {
    return error_from_errno(errno,
                            fmt::format("disk {}: cannot make {}", config_.id, config_.path));
  }
  created_ = true;
  if (::ftruncate(fd.get(), static_cast<off_t>(size_bytes)) != 0) {
    return error_from_errno(errno, fmt::format("disk {}: cannot give {} its {} bytes", config_.id,
                                               config_.path, size_bytes));
  }
  sync_directory(config_.path);
  return {};
}

IncomingFile::~IncomingFile() {
  if (kept_) return;
  if (created_) {
    remove();
  } else if (written_) {
    spdlog::warn(
        "disk {}: the guest did not come: {} is incomplete, neither what it was before nor the "
        "guest's disk",
        config_.id, config_.path);
  }
}

void IncomingFile::remove() noexcept {
  if (::unlink(config_.path.c_str()) != 0) {
    spdlog::warn("disk {}: the guest did not come, and the incomplete {} cannot be removed: {}",
                 config_.id, config_.path, std::generic_category().message(errno));
  } else if (written_) {
    spdlog::info("disk {}: the guest did not come: the incomplete {} is removed", config_.id,
                 config_.path);
  }
}

}  // namespace godwit::devices
