// A queue on a connection of its own to an NBD server.
//
// A request becomes one or more commands: memory in large pieces goes as it is, small pieces are
// gathered into a bounded amount of buffers, since a command per page would cost more than the
// copy. What does not fit into the bounds waits inside the queue.
//
// Lost connections. For `reconnect` seconds the queue connects again and again, and does again what
// was not acknowledged: a guest sees a slow disk. Then requests fail with EIO, new ones at once,
// while it keeps trying once a second; the first answer of a server ends that. Two limits, as with
// any NBD client that does this: a server that lost power has lost writes that were acknowledged
// and not flushed; and where the server still works on the old connection (it did not die, the
// network did), a command of it may come late and write its older bytes over a newer write.
// Servers see a broken connection before they take a new one in the usual case, TCP resets and
// Unix sockets; TLS or not makes no difference.
#pragma once
#include <deque>
#include <optional>
#include <vector>

#include "devices/block/io_vector.h"
#include "devices/block/nbd_connection.h"
#include "vmm/base/clock.h"
#include "vmm/base/fd.h"

namespace godwit::devices {

class NbdQueue final : public BlockQueue {
 public:
  static constexpr size_t kMaxCommands = 256;            // under way at a time
  static constexpr size_t kMaxBounceBytes = 16u << 20;   // of all of them
  static constexpr size_t kGatherBytes = 256u << 10;     // of one
  static constexpr size_t kLargePieceBytes = 64u << 10;  // goes as it is

  // `handle` is connected. Throws std::system_error when the host gives no eventfd or timer.
  NbdQueue(const DiskConfig& config, const NbdExport& server, NbdHandle handle);
  ~NbdQueue() override;

  void kick() override;
  [[nodiscard]] int event_fd() const override { return events_.get(); }

 private:
  struct Request {
    BlockRequest request;
    IoVector memory;
    IoVector::Position at;  // of what has not become commands yet
    uint64_t offset = 0;    // the same
    uint64_t left = 0;      // the same
    size_t commands = 0;    // made and not over
    int error = 0;          // the first
    bool waiting = false;   // in waiting_
  };
  struct Command {
    uint32_t request = 0;
    uint64_t offset = 0;
    uint64_t length = 0;
    std::byte* memory = nullptr;
    std::unique_ptr<std::byte[]> bounce;  // `memory` is in here; else guest memory or zeroes
    IoVector::Position at;                // where a bounced read goes to
    int64_t cookie = 0;                   // libnbd's; 0: not with the server
  };
  enum class State { kConnected, kConnecting, kWaiting };

  void take(const BlockRequest& request) override;
  size_t collect(std::span<BlockCompletion> done) override;

  // Commands (nbd_queue.cc).
  void pump();
  [[nodiscard]] bool may_make_command() const;
  void make_command(uint32_t slot);
  void place_transfer(Request& request, Command& command);
  bool issue(uint32_t index);
  int64_t hand_to_library(const Command& command, const Request& request);
  void end_command(uint32_t index, int error);
  void end_if_over(uint32_t slot);
  bool harvest();

  // The connection (nbd_reconnect.cc).
  void service();
  void drive(uint32_t epoll_events);
  void connected();
  void lose(const Error& why);
  void drop_handle();
  void try_again();
  void fail_all();
  void on_timer();
  void arm_timer();
  void watch_handle();
  void set_ready(bool ready);
  [[nodiscard]] bool given_up() const;

  const DiskConfig config_;
  const NbdExport server_;
  NbdHandle handle_;
  State state_ = State::kConnected;
  UniqueFd events_;  // epoll: the connection, timer_, ready_
  UniqueFd timer_;
  UniqueFd ready_;  // eventfd: done_ holds something
  bool ready_set_ = false;
  int watched_fd_ = -1;
  uint32_t watched_events_ = 0;

  std::optional<TimePoint> lost_since_;  // until a server answers again
  TimePoint next_attempt_{};
  TimePoint attempt_deadline_{};
  Nanoseconds pause_{};
  std::string reason_;  // of the last loss
  bool told_ = false;   // that requests fail now

  std::vector<Request> requests_;
  std::vector<uint32_t> free_requests_;
  std::deque<uint32_t> waiting_;  // requests that have more commands to make
  std::vector<Command> commands_;
  std::vector<uint32_t> free_commands_;
  std::deque<uint32_t> unsent_;  // commands to be done again
  size_t bounce_bytes_ = 0;
  std::deque<BlockCompletion> done_;
};

}  // namespace godwit::devices
