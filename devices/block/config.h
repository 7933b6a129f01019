// What --disk says of one disk.
#pragma once
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "vmm/base/error.h"

namespace godwit::devices {

inline constexpr size_t kMaxDiskIdBytes = 48;
inline constexpr size_t kMaxDiskSerialBytes = 20;  // virtio 1.2, 5.2.6: VIRTIO_BLK_T_GET_ID
inline constexpr uint16_t kMaxDiskQueues = 16;
inline constexpr uint32_t kMinDiskQueueSize = 16;
inline constexpr uint32_t kMaxDiskQueueSize = 1024;
inline constexpr std::chrono::seconds kMaxDiskReconnect{24 * 3600};

enum class DirectMode { kAuto, kOn, kOff };      // O_DIRECT; auto: where the file system takes it
enum class DiskAio { kAuto, kUring, kThreads };  // auto: io_uring where the host lets us

struct DiskConfig {
  std::string id;
  std::string path;     // a regular file or a block device; else
  std::string nbd_uri;  // nbd://, nbds://, nbd+unix:// or nbds+unix://
  std::string tls_dir;  // of nbds: ca-cert.pem, client-cert.pem, client-key.pem
  bool read_only = false;
  uint16_t queues = 1;
  uint32_t queue_size = 256;  // requests in flight per queue; a power of two
  std::string serial;
  DirectMode direct = DirectMode::kAuto;
  DiskAio aio = DiskAio::kAuto;
  bool discard = true;
  bool share = false;                  // several guests, who all say so: see disk_lock.h
  bool lock = true;                    // off: somebody else keeps two writers apart
  bool create = false;                 // a missing file is made for a guest that brings its content
  std::chrono::seconds reconnect{30};  // of NBD: how long requests wait for the server

  [[nodiscard]] bool is_nbd() const { return !nbd_uri.empty(); }
  // The path or the URI, for error texts.
  [[nodiscard]] const std::string& source() const { return is_nbd() ? nbd_uri : path; }
};

// Parses key=value,... (see devices/options/options.h). Keys: id, path | nbd, readonly, queues,
// queue-size, serial, direct, aio, discard, share, lock, create, tls-dir, reconnect. `default_id`
// is taken when none is given. Errors: kInvalidArgument, naming the key and what is allowed.
Result<DiskConfig> parse_disk(std::string_view text, std::string_view default_id);

}  // namespace godwit::devices
