// What stands behind a guest's serial port on the host, and the device in front of it.
//
// Output. write() never blocks: it takes what its buffer (kConsoleOutputBytes) has room for, and a
// thread of the backend carries that to the host. When the buffer is full the device is told so and
// shows the guest a transmitter that is still busy, as a slow line does; no vCPU ever waits. When
// the other end takes nothing for kConsoleStallLimit while the guest wants to send, the backlog is
// dropped and so is all that follows until the other end moves again: a reader that went to sleep
// costs the guest one second, once. Dropped bytes are counted.
// Input. The backend reads from the host only while the device wants bytes, so the rest waits where
// the host keeps it (the terminal, the socket).
// Migration. A quiesced backend moves no byte. What it had not handed to the host by then goes into
// the device's state and leaves at the target: no byte is lost or doubled.
#pragma once
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "vmm/base/byte_io.h"
#include "vmm/base/clock.h"

namespace godwit::devices {

inline constexpr size_t kConsoleOutputBytes = 64u << 10;
inline constexpr size_t kConsoleInputChunk = 64;
inline constexpr Nanoseconds kConsoleStallLimit = std::chrono::seconds(1);
// How long shut_down() lets unsent output drain.
inline constexpr Nanoseconds kConsoleDrainLimit = std::chrono::seconds(1);

// The device's side. Called on the backend's thread, with no lock of the backend held, and never
// while the backend is quiesced.
class ConsoleClient {
 public:
  virtual ~ConsoleClient() = default;
  // Takes all of `bytes` (at most kConsoleInputChunk; only while input is wanted). Returns whether
  // more is wanted right away.
  virtual bool receive(std::span<const std::byte> bytes) = 0;
  // A write() that was cut short may be continued.
  virtual void output_room() = 0;
};

struct ConsoleCounters {
  uint64_t output_bytes = 0;   // handed to the host
  uint64_t dropped_bytes = 0;  // written by the guest, taken by nobody
  uint64_t input_bytes = 0;
};

// What shut_down() does with output that the host has not taken yet.
enum class Unsent {
  kSend,                // the guest ended here
  kDiscard,             // the guest went elsewhere and sends it there
  kSendUnlessQuiesced,  // nobody said; a quiesced guest may have gone elsewhere
};

// Made quiesced: resume() starts it. Threads: any, unless said otherwise. Lock order: the device's
// own lock may be held during every call but quiesce(), detach() and shut_down(), which wait for
// the backend's thread.
class ConsoleBackend {
 public:
  virtual ~ConsoleBackend() = default;
  // While quiesced and nobody is attached; `client` must live until detach() or
  // shut_down().
  virtual void attach(ConsoleClient& client) = 0;
  // Returns when the client is called no more. Output goes on its way all the same, input waits
  // for the next client. Idempotent.
  virtual void detach() noexcept = 0;
  // Takes bytes from the guest, in order; returns how many. Fewer than given: output_room() will
  // be called.
  virtual size_t write(std::span<const std::byte> bytes) = 0;
  // Whether receive() may be called. true at the start.
  virtual void set_input_wanted(bool wanted) = 0;

  // Returns when no byte moves any more. Idempotent, as is resume().
  virtual void quiesce() = 0;
  virtual void resume() = 0;
  // Unsent output, as a blob of at most kConsoleOutputBytes. Only while quiesced.
  virtual void save_output(ByteWriter& out) const = 0;
  // Replaces the unsent output (at most kConsoleOutputBytes). Only while quiesced.
  virtual void load_output(std::span<const std::byte> bytes) = 0;

  // Ends all activity and joins the thread; afterwards the client is called no more and output is
  // dropped. Idempotent; the destructor does it too (kSendUnlessQuiesced).
  virtual void shut_down(Unsent unsent) noexcept = 0;

  // Where a user finds it: the pty's name, the socket, the file; empty when there is no such place.
  [[nodiscard]] virtual std::string path() const = 0;
  [[nodiscard]] virtual ConsoleCounters counters() const = 0;
};

}  // namespace godwit::devices
