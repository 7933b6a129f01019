// The host's end of a console: the file descriptors that BufferedConsole polls. No call blocks.
#pragma once
#include <poll.h>

#include <array>
#include <cstddef>
#include <span>
#include <string>

namespace godwit::devices {

// Threads: all on the backend's thread, path() on any.
class ConsoleEndpoint {
 public:
  static constexpr size_t kMaxFds = 2;
  using PollSet = std::span<pollfd, kMaxFds>;
  struct Ready {
    bool input = false;
    bool output = false;
  };
  struct Written {
    size_t sent = 0;
    size_t dropped = 0;  // nobody is there, or the host refuses; both zero: not now
  };

  virtual ~ConsoleEndpoint() = default;
  // What to poll for; an unused entry keeps fd -1. Returns what needs no poll(), such as output
  // when nobody is there to take it.
  virtual Ready prepare(bool want_input, bool want_output, PollSet set) = 0;
  // Looks at what poll() found; takes and leaves clients. Called only when it found something.
  virtual Ready after_poll(PollSet set) = 0;
  // Reads what is there; 0: nothing now, or the end of input. Only when said to be ready.
  virtual size_t read(std::span<std::byte> to) = 0;
  // Writes from `bytes`, which is not empty. Only when said to be ready.
  virtual Written write(std::span<const std::byte> bytes) = 0;
  [[nodiscard]] virtual std::string path() const { return {}; }
};

}  // namespace godwit::devices
