// One connection to an NBD server, through libnbd (libnbd(3)).
#pragma once
#include <chrono>
#include <memory>

#include "devices/block/block.h"
#include "devices/block/config.h"

struct nbd_handle;

namespace godwit::devices {

// How long an attempt to connect may take, the handshake included. (libnbd looks names up in the
// middle of it, for as long as the resolver takes.)
inline constexpr std::chrono::seconds kNbdConnectLimit{10};

struct NbdHandleClose {
  void operator()(nbd_handle* handle) const;
};
using NbdHandle = std::unique_ptr<nbd_handle, NbdHandleClose>;

// What the server said of the export.
struct NbdExport {
  BlockInfo info;
  uint32_t max_transfer_bytes = 0;  // of one read or write
  bool can_flush = false;
  bool can_zero = false;
  bool can_trim = false;
};

// A handle that has begun to connect; drive it as nbd_aio_connect_uri(3) says. Errors: kIo and
// others, naming the URI.
Result<NbdHandle> nbd_begin(const DiskConfig& config);
// Waits until it is connected, at most kNbdConnectLimit. Errors: kTimeout, kIo.
Result<> nbd_wait_connected(const DiskConfig& config, nbd_handle* handle);
// Of a connected handle. Errors: kIncompatible for sizes that cannot be had, kPermission for a
// server that only lets us read.
Result<NbdExport> nbd_look(const DiskConfig& config, nbd_handle* handle);
// Whether a server that came back serves the same disk. Errors: kIncompatible.
Result<> nbd_check_same(const DiskConfig& config, const NbdExport& before, const NbdExport& after);

// libnbd's last error of this thread, with the disk and the URI.
Error nbd_error(const DiskConfig& config, std::string_view what);

}  // namespace godwit::devices
