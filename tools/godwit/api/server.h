// The REST API of one guest: HTTP/1.1 on a Unix socket that only its owner may use.
//
// A request is answered by routes.h. Bounds, since any process of the owner may talk to it:
// kMaxConnections at once (more are answered 503), kMaxHeaderBytes and kMaxBodyBytes per request
// (431, 413), kRequestTimeout for a request to arrive and for an answer to be taken. A peer that is
// neither the owner nor root (SO_PEERCRED) is answered 403.
//
// A stream (application/x-ndjson) is one JSON object per line: the migration's progress whenever it
// changes, at least every kHeartbeat, and as the last line its result. A reader that is slow gets
// fewer lines, never old ones.
#pragma once
#include <filesystem>
#include <functional>
#include <memory>

#include "tools/godwit/api/event_loop.h"
#include "tools/godwit/api/guest.h"

namespace godwit::tools {

inline constexpr size_t kMaxConnections = 32;
inline constexpr uint32_t kMaxHeaderBytes = 8 << 10;
inline constexpr uint64_t kMaxBodyBytes = 64 << 10;

struct ApiTimeouts {
  Nanoseconds request = std::chrono::seconds(10);
  Nanoseconds idle = std::chrono::seconds(60);  // between two requests of one connection
  Nanoseconds heartbeat = std::chrono::seconds(1);
};

struct ServerState;

// Threads: that of the loop, or any while the loop does not run.
class ApiServer {
 public:
  // Listens at `socket` (made with mode 0600); the file must not exist. `loop` and `guest` outlive
  // the server. Errors: what the host says of the path.
  static Result<std::unique_ptr<ApiServer>> start(EventLoop& loop,
                                                  const std::filesystem::path& socket, Guest& guest,
                                                  const ApiTimeouts& timeouts = {});
  ~ApiServer();

  // Takes no new requests; calls `done` when every answer and stream that is under way has been
  // sent, or after `limit`. The guest is not asked again after that.
  void close(Nanoseconds limit, std::function<void()> done);

 private:
  explicit ApiServer(std::shared_ptr<ServerState> state);
  std::shared_ptr<ServerState> state_;  // shared with the connections
};

}  // namespace godwit::tools
