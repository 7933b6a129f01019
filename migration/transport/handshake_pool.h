// TLS handshakes of accepted connections, side by side: whoever is slow delays only himself.
#pragma once
#include <deque>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <thread>

#include "migration/transport/log_limiter.h"
#include "migration/transport/stream_socket.h"
#include "migration/transport/tls_context.h"

namespace godwit::migration {

// At most kMaxRunning handshakes at once, each at most `limit` long: so many silent clients are
// needed to delay a good one, and then by no more than `limit`. A failed one is logged (a few lines
// per minute at most) and dropped. Threads: all members from any thread; the destructor ends what
// runs and waits for it.
class HandshakePool {
 public:
  static constexpr size_t kMaxRunning = 64;

  // `on_change` is called from a handshake's thread after it ended; it must not block.
  HandshakePool(std::shared_ptr<const TlsContext> tls, Nanoseconds limit,
                std::function<void()> on_change);
  ~HandshakePool();

  // Counts established connections that nobody took yet, too: a flood ends in the backlog.
  [[nodiscard]] bool full();
  // Only when not full.
  void start(std::shared_ptr<StreamSocket> socket);
  // An established connection, first come first served; null when there is none.
  std::unique_ptr<Channel> take();

 private:
  struct Running {
    std::shared_ptr<StreamSocket> socket;  // null once ended
    std::jthread thread;
    bool ended = false;
  };
  void run(Running& self);
  void reap_locked();
  void log_failure_locked(const std::string& reason);

  std::shared_ptr<const TlsContext> tls_;
  Nanoseconds limit_;
  std::function<void()> on_change_;
  std::mutex mutex_;
  LogLimiter log_limiter_;
  std::deque<std::unique_ptr<Channel>> established_;
  std::list<Running> running_;
};

}  // namespace godwit::migration
