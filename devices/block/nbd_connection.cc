#include "devices/block/nbd_connection.h"

#include <libnbd.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "vmm/base/clock.h"

namespace godwit::devices {
namespace {

constexpr uint32_t kMaxTransferBytes = 32u << 20;  // what servers take that name no limit
constexpr uint32_t kMaxMinimumBlock = 4096;        // guests take no larger logical block

uint32_t block_size(nbd_handle* handle, int kind) {
  const int64_t size = nbd_get_block_size(handle, kind);
  return size > 0 ? static_cast<uint32_t>(std::min<int64_t>(size, 1 << 30)) : 0;
}

// A server that vanished without a word must be noticed, or its requests would wait forever.
// Sockets of another kind refuse these, and need none.
void watch_peer(nbd_handle* handle) {
  const int fd = nbd_aio_get_fd(handle);
  const int on = 1;
  const int idle_seconds = 5;
  const int interval_seconds = 5;
  const int probes = 3;
  const unsigned unacknowledged_ms = 20'000;
  (void)::setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  (void)::setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_seconds, sizeof idle_seconds);
  (void)::setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_seconds, sizeof interval_seconds);
  (void)::setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
  (void)::setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &unacknowledged_ms,
                     sizeof unacknowledged_ms);
}

std::string describe(const NbdExport& server) {
  const BlockInfo& info = server.info;
  return fmt::format("{} bytes in blocks of {}, {} at a time, {} queues{}{}{}", info.size_bytes,
                     info.logical_block_bytes, server.max_transfer_bytes, info.max_queues,
                     info.can_discard ? ", discard" : "", server.can_flush ? ", flush" : "",
                     server.can_zero ? ", zeroes" : "");
}

Result<> check_sizes(const DiskConfig& config, const NbdExport& server) {
  const BlockInfo& info = server.info;
  if (info.logical_block_bytes > kMaxMinimumBlock) {
    return make_error(Errc::kIncompatible,
                      "disk {}: {} takes only multiples of {} bytes; guests can do up to {}: "
                      "configure the server for less",
                      config.id, config.nbd_uri, info.logical_block_bytes, kMaxMinimumBlock);
  }
  if (info.size_bytes == 0 || info.size_bytes % info.logical_block_bytes != 0) {
    return make_error(Errc::kIncompatible,
                      "disk {}: the size of {}, {} bytes, is no multiple of {}; have the server "
                      "round it up",
                      config.id, config.nbd_uri, info.size_bytes, info.logical_block_bytes);
  }
  if (server.max_transfer_bytes < info.logical_block_bytes) {
    return make_error(Errc::kIncompatible,
                      "disk {}: {} takes at most {} bytes at a time, less than its block of {}",
                      config.id, config.nbd_uri, server.max_transfer_bytes,
                      info.logical_block_bytes);
  }
  return {};
}

}  // namespace

void NbdHandleClose::operator()(nbd_handle* handle) const {
  nbd_close(handle);
}

Error nbd_error(const DiskConfig& config, std::string_view what) {
  const char* const text = nbd_get_error();
  return make_error(Errc::kIo, "disk {}: {} {}: {}", config.id, what, config.nbd_uri,
                    text != nullptr ? text : "no reason given");
}

Result<NbdHandle> nbd_begin(const DiskConfig& config) {
  NbdHandle handle(nbd_create());
  if (!handle) return nbd_error(config, "cannot make a connection to");
  nbd_handle* const h = handle.get();
  // The URI is the host's owner's, who may name files. A failed read's memory is nobody's business,
  // so libnbd need not clear it beforehand.
  bool set =
      nbd_set_uri_allow_local_file(h, true) == 0 && nbd_set_pread_initialize(h, false) == 0 &&
      nbd_set_uri_allow_transports(h, LIBNBD_ALLOW_TRANSPORT_TCP | LIBNBD_ALLOW_TRANSPORT_UNIX) ==
          0;
  if (!config.tls_dir.empty()) {
    set = set && nbd_set_tls_certificates(h, config.tls_dir.c_str()) == 0;
  }
  if (!set) return nbd_error(config, "cannot set up the connection to");
  if (nbd_aio_connect_uri(h, config.nbd_uri.c_str()) != 0) {
    return nbd_error(config, "cannot connect to");
  }
  return handle;
}

Result<> nbd_wait_connected(const DiskConfig& config, nbd_handle* handle) {
  const TimePoint deadline = now() + kNbdConnectLimit;
  while (nbd_aio_is_connecting(handle) == 1) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - now()).count();
    if (left <= 0) {
      return make_error(Errc::kTimeout,
                        "disk {}: {} does not answer within {} s; see whether the server runs",
                        config.id, config.nbd_uri, kNbdConnectLimit.count());
    }
    if (nbd_poll(handle, static_cast<int>(left)) == -1) {
      return nbd_error(config, "cannot connect to");
    }
  }
  if (nbd_aio_is_ready(handle) != 1) return nbd_error(config, "cannot connect to");
  return {};
}

Result<NbdExport> nbd_look(const DiskConfig& config, nbd_handle* handle) {
  NbdExport server;
  BlockInfo& info = server.info;
  const int64_t size = nbd_get_size(handle);
  if (size < 0) return nbd_error(config, "no size is told by");
  info.size_bytes = static_cast<uint64_t>(size);
  const uint32_t preferred = block_size(handle, LIBNBD_SIZE_PREFERRED);
  info.logical_block_bytes = std::max(kSectorBytes, block_size(handle, LIBNBD_SIZE_MINIMUM));
  info.physical_block_bytes =
      std::max(info.logical_block_bytes, std::min(preferred, kMaxMinimumBlock));
  info.opt_io_bytes = preferred;
  const uint32_t maximum = block_size(handle, LIBNBD_SIZE_MAXIMUM);
  server.max_transfer_bytes =
      maximum == 0 ? kMaxTransferBytes : std::min(maximum, kMaxTransferBytes);
  server.max_transfer_bytes -= server.max_transfer_bytes % info.logical_block_bytes;
  GODWIT_TRY(check_sizes(config, server));
  if (nbd_is_read_only(handle) != 0 && !config.read_only) {
    return make_error(Errc::kPermission, "disk {}: {} only lets us read; give it readonly",
                      config.id, config.nbd_uri);
  }
  info.read_only = config.read_only;
  server.can_flush = nbd_can_flush(handle) == 1;
  server.can_zero = nbd_can_zero(handle) == 1;
  server.can_trim = nbd_can_trim(handle) == 1;
  info.can_discard = config.discard && !config.read_only && server.can_trim;
  info.can_write_zeroes = !config.read_only;
  // A flush on one connection covers writes of another only if the server says so.
  const bool many = config.read_only || nbd_can_multi_conn(handle) == 1;
  info.max_queues = many ? kMaxDiskQueues : 1;
  watch_peer(handle);
  return server;
}

Result<> nbd_check_same(const DiskConfig& config, const NbdExport& before, const NbdExport& after) {
  const BlockInfo& old = before.info;
  const BlockInfo& now_is = after.info;
  if (old.size_bytes == now_is.size_bytes &&
      now_is.logical_block_bytes <= old.logical_block_bytes &&
      old.max_queues == now_is.max_queues && old.can_discard == now_is.can_discard &&
      before.can_flush == after.can_flush && before.can_zero == after.can_zero &&
      before.max_transfer_bytes <= after.max_transfer_bytes) {
    return {};
  }
  return make_error(Errc::kIncompatible,
                    "disk {}: {} came back as another disk ({}; before: {}); serve the same one in "
                    "the same way",
                    config.id, config.nbd_uri, describe(after), describe(before));
}

}  // namespace godwit::devices
