#include "devices/block/file_backend.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <spdlog/spdlog.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <fstream>

#include "devices/block/thread_queue.h"
#include "devices/block/uring_queue.h"

namespace godwit::devices {
namespace {

Error disk_error(const DiskConfig& config, int error, std::string_view what) {
  return error_from_errno(error, fmt::format("disk {}: {} {}", config.id, what, config.path));
}

int open_flags(const DiskConfig& config) {
  return (config.read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC;
}

Result<bool> is_block_device(const DiskConfig& config, const struct stat& status) {
  if (S_ISBLK(status.st_mode)) return true;
  if (S_ISREG(status.st_mode)) return false;
  return make_error(Errc::kInvalidArgument,
                    "disk {}: {} is neither a regular file nor a block device; name one of these",
                    config.id, config.path);
}

// O_EXCL on a block device fails while it is mounted, or part of something that is.
Result<> check_not_mounted(const DiskConfig& config) {
  const UniqueFd probe(::open(config.path.c_str(), O_RDWR | O_EXCL | O_CLOEXEC));
  if (probe || errno != EBUSY) return {};
  return make_error(Errc::kInvalidArgument,
                    "disk {}: {} is in use by this host (mounted, swap, or part of a volume); "
                    "unmount it, or give it readonly",
                    config.id, config.path);
}

// A number of a block device's queue in sysfs; of a partition, its disk's. 0 when it has none.
uint64_t queue_limit(dev_t device, std::string_view name) {
  for (const std::string_view folder : {"queue", "../queue"}) {
    std::ifstream file(
        fmt::format("/sys/dev/block/{}:{}/{}/{}", major(device), minor(device), folder, name));
    uint64_t number = 0;
    if (file >> number) return number;
  }
  return 0;
}

// statfs(2), linux/magic.h: NFS, CIFS, SMB2, Ceph, GFS2, OCFS2, FUSE (Gluster and others).
constexpr std::array<uint32_t, 7> kNetworkFileSystems{
    0x6969, 0xff534d42, 0xfe534d42, 0x00c36400, 0x01161970, 0x7461636f, 0x65735546};

// Cut to what a migration's message has room for.
std::string worldwide_name(dev_t device) {
  const std::string node = fmt::format("/sys/dev/block/{}:{}/", major(device), minor(device));
  std::string partition;
  std::ifstream(node + "partition") >> partition;
  const std::string_view disk = partition.empty() ? "" : "../";
  for (const std::string_view place : {"wwid", "device/wwid", "dm/uuid"}) {
    std::string name;
    std::ifstream file(fmt::format("{}{}{}", node, disk, place));
    if (std::getline(file, name) && !name.empty())
      return fmt::format("{}:{}", name.substr(0, 100), partition);
  }
  return {};
}

// The smallest alignment of length and memory that a direct read at the start takes; 0: none.
uint32_t try_alignment(int fd) {
  constexpr uint32_t kTried = 4096;
  const std::unique_ptr<void, void (*)(void*)> memory(std::aligned_alloc(kTried, 2 * kTried),
                                                      std::free);
  for (uint32_t alignment = kSectorBytes; memory && alignment <= kTried; alignment *= 2) {
    if (::pread(fd, static_cast<char*>(memory.get()) + alignment, alignment, 0) >= 0) {
      return alignment;
    }
  }
  return 0;
}

struct Alignment {
  uint32_t memory = 0;
  uint32_t length = 0;
};

Alignment direct_alignment(int fd) {
#ifdef STATX_DIOALIGN
  struct statx status {};
  if (::statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &status) == 0 &&
      (status.stx_mask & STATX_DIOALIGN) != 0) {
    return {status.stx_dio_mem_align, status.stx_dio_offset_align};
  }
#endif
  const uint32_t found = try_alignment(fd);
  return {found, found};
}

}  // namespace

Result<std::unique_ptr<FileBackend>> FileBackend::open(const DiskConfig& config) {
  struct stat status {};
  if (::stat(config.path.c_str(), &status) != 0) return disk_error(config, errno, "cannot find");
  // Asked first: to open a FIFO would wait for a writer.
  GODWIT_ASSIGN(const bool is_device, is_block_device(config, status));
  if (is_device && !config.read_only && !config.share) GODWIT_TRY(check_not_mounted(config));
  UniqueFd fd(::open(config.path.c_str(), open_flags(config)));
  if (!fd) {
    return disk_error(config, errno,
                      config.read_only ? "cannot open for reading"
                                       : "cannot open for writing (without readonly)");
  }
  std::unique_ptr<FileBackend> backend(new FileBackend(config, std::move(fd)));
  GODWIT_TRY(backend->look(is_device));
  return backend;
}

FileBackend::FileBackend(const DiskConfig& config, UniqueFd fd)
    : config_(config), fd_(std::move(fd)) {}

Result<> FileBackend::look(bool is_device) {
  is_device_ = is_device;
  file_.fd = fd_.get();
  info_.read_only = config_.read_only;
  info_.can_write_zeroes = !config_.read_only;
  info_.max_queues = kMaxDiskQueues + 1;  // a migration that copies the disk has its own
  GODWIT_TRY(is_device ? look_at_device() : look_at_file());
  GODWIT_TRY(check_size());
  return choose_direct();
}

Result<> FileBackend::look_at_file() {
  struct stat status {};
  if (::fstat(fd_.get(), &status) != 0) return disk_error(config_, errno, "cannot stat");
  info_.size_bytes = static_cast<uint64_t>(status.st_size);
  info_.physical_block_bytes = 4096;
  info_.discard_granularity_bytes = static_cast<uint32_t>(status.st_blksize);
  // Beyond the end a hole changes nothing, and still tells whether the file system has them.
  if (!config_.read_only) {
    file_.punches_holes = ::fallocate(fd_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                      status.st_size, 4096) == 0;
    info_.can_discard = config_.discard && file_.punches_holes;
  }
  return {};
}

Result<> FileBackend::look_at_device() {
  const int fd = fd_.get();
  int is_read_only = 0;
  int logical = 0;
  unsigned physical = 0;
  unsigned min_io = 0;
  unsigned opt_io = 0;
  struct stat status {};
  if (::ioctl(fd, BLKGETSIZE64, &info_.size_bytes) != 0 || ::ioctl(fd, BLKSSZGET, &logical) != 0 ||
      ::ioctl(fd, BLKPBSZGET, &physical) != 0 || ::ioctl(fd, BLKIOMIN, &min_io) != 0 ||
      ::ioctl(fd, BLKIOOPT, &opt_io) != 0 || ::ioctl(fd, BLKROGET, &is_read_only) != 0 ||
      ::fstat(fd, &status) != 0) {
    return disk_error(config_, errno, "cannot ask for the size and block sizes of");
  }
  if (is_read_only != 0 && !config_.read_only) {
    return make_error(Errc::kPermission, "disk {}: the device {} is read-only; give it readonly",
                      config_.id, config_.path);
  }
  info_.logical_block_bytes = static_cast<uint32_t>(logical);
  info_.physical_block_bytes = physical;
  info_.min_io_bytes = min_io;
  info_.opt_io_bytes = opt_io;
  info_.discard_granularity_bytes =
      static_cast<uint32_t>(queue_limit(status.st_rdev, "discard_granularity"));
  info_.can_discard =
      config_.discard && !config_.read_only && queue_limit(status.st_rdev, "discard_max_bytes") > 0;
  return {};
}

Result<> FileBackend::check_size() const {
  const uint64_t size = info_.size_bytes;
  if (size == 0) {
    return make_error(Errc::kInvalidArgument,
                      "disk {}: {} is empty; give it a size, such as with truncate -s 10G",
                      config_.id, config_.path);
  }
  if (size % info_.logical_block_bytes != 0) {
    return make_error(Errc::kInvalidArgument,
                      "disk {}: the size of {}, {} bytes, is no multiple of {}; lengthen it, such "
                      "as with truncate -s %{}",
                      config_.id, config_.path, size, info_.logical_block_bytes,
                      info_.logical_block_bytes);
  }
  return {};
}

Result<> FileBackend::choose_direct() {
  if (config_.direct == DirectMode::kOff) return {};
  const bool wanted = config_.direct == DirectMode::kOn;
  Alignment alignment;
  if (::fcntl(fd_.get(), F_SETFL, O_DIRECT) == 0) alignment = direct_alignment(fd_.get());
  const bool fits = alignment.memory > 0 && alignment.length > 0 &&
                    alignment.memory <= FileTransfer::kBounceAlignment &&
                    alignment.length <= FileTransfer::kBounceAlignment &&
                    info_.size_bytes % alignment.length == 0;
  if (fits) {
    file_.direct = true;
    file_.memory_alignment = alignment.memory;
    info_.logical_block_bytes = std::max(info_.logical_block_bytes, alignment.length);
    info_.physical_block_bytes = std::max(info_.physical_block_bytes, info_.logical_block_bytes);
    file_.length_alignment = info_.logical_block_bytes;
    return {};
  }
  if (wanted) {
    return make_error(Errc::kUnsupported,
                      "disk {}: {} cannot be used with direct=on: its file system has no O_DIRECT, "
                      "or needs sizes in multiples of {} bytes; use direct=auto",
                      config_.id, config_.path, alignment.length);
  }
  if (::fcntl(fd_.get(), F_SETFL, 0) != 0) return disk_error(config_, errno, "cannot set up");
  return {};
}

Result<std::unique_ptr<BlockQueue>> FileBackend::create_queue() {
  if (config_.aio != DiskAio::kThreads) {
    auto queue = UringQueue::create(info_, file_, config_.queue_size);
    if (queue) return queue;
    if (config_.aio == DiskAio::kUring) {
      return queue.error().with_context(
          fmt::format("disk {}: aio=io_uring is not to be had here; use aio=auto", config_.id));
    }
    spdlog::info("disk {}: threads instead of io_uring: {}", config_.id, queue.error().message);
  }
  return std::unique_ptr<BlockQueue>(
      std::make_unique<ThreadQueue>(info_, file_, config_.queue_size));
}

Result<> FileBackend::invalidate_cache() {
  // The kernel keeps the cache of a block device to itself unless told; of a file it can be asked.
  if (is_device_ && ::ioctl(fd_.get(), BLKFLSBUF, 0) != 0 && errno != EACCES && errno != EPERM) {
    return disk_error(config_, errno, "cannot drop the host's cache of");
  }
  const int failed = ::posix_fadvise(fd_.get(), 0, 0, POSIX_FADV_DONTNEED);
  if (failed != 0) return disk_error(config_, failed, "cannot drop the host's cache of");
  return {};
}

uint64_t FileBackend::next_data(uint64_t offset) const {
  if (is_device_) return offset;
  // The position that this moves is nobody's: all transfers name theirs.
  const off_t data = ::lseek(fd_.get(), static_cast<off_t>(offset), SEEK_DATA);
  if (data >= 0) return std::clamp<uint64_t>(static_cast<uint64_t>(data), offset, info_.size_bytes);
  return errno == ENXIO ? info_.size_bytes : offset;
}

bool FileBackend::on_network_file_system() const {
  struct statfs status {};
  if (is_device_ || ::fstatfs(fd_.get(), &status) != 0) return false;
  return std::ranges::find(kNetworkFileSystems, static_cast<uint32_t>(status.f_type)) !=
         kNetworkFileSystems.end();
}

std::string FileBackend::identity() const {
  std::ifstream file("/proc/sys/kernel/random/boot_id");
  std::string host;
  struct stat status {};
  if (!(file >> host) || ::fstat(fd_.get(), &status) != 0) return {};
  if (is_device_) {
    const std::string name = worldwide_name(status.st_rdev);
    return name.empty() ? fmt::format("{}:device:{:x}", host, status.st_rdev) : name;
  }
  return fmt::format("{}:file:{:x}:{:x}", host, status.st_dev, status.st_ino);
}

std::string FileBackend::description() const {
  return fmt::format("{} ({}, {} bytes, {}{})", config_.id, config_.path, info_.size_bytes,
                     file_.direct ? "direct" : "through the host's cache",
                     info_.read_only ? ", read-only" : "");
}

Result<UniqueFd> FileBackend::reopen() const {
  UniqueFd fd(::open(config_.path.c_str(), open_flags(config_)));
  if (!fd) return disk_error(config_, errno, "cannot open for its locks");
  struct stat first {};
  struct stat second {};
  if (::fstat(fd_.get(), &first) != 0 || ::fstat(fd.get(), &second) != 0) {
    return disk_error(config_, errno, "cannot stat");
  }
  if (first.st_dev != second.st_dev || first.st_ino != second.st_ino) {
    return make_error(Errc::kPrecondition,
                      "disk {}: {} was replaced by another file just now; try again", config_.id,
                      config_.path);
  }
  return fd;
}

}  // namespace godwit::devices
