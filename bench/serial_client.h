// The host's end of a guest's serial port: the workload guest's lines in, command bytes out
// (bench/workload/README.md). Works with any VMM that offers the port as a Unix socket.
#pragma once
#include <chrono>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "vmm/base/clock.h"
#include "vmm/base/error.h"
#include "vmm/base/fd.h"

namespace godwit::bench {

// One line: bare words and key=value pairs; a value may stand in double quotes.
struct GuestLine {
  std::string text;
  std::unordered_map<std::string, std::string> values;  // a bare word has the value ""

  [[nodiscard]] bool has(const std::string& key) const { return values.contains(key); }
  // "" if there is no such key.
  [[nodiscard]] std::string value(const std::string& key) const;
  // kCorrupt if the key is missing or is no number.
  [[nodiscard]] Result<uint64_t> number(const std::string& key) const;
  [[nodiscard]] Result<double> decimal(const std::string& key) const;
};
GuestLine parse_guest_line(std::string_view text);

// Not thread-safe. No call waits longer than it is told.
class SerialClient {
 public:
  // Connects to a listening Unix socket; waits for it to appear. kTimeout.
  static Result<SerialClient> connect(const std::filesystem::path& path, Nanoseconds timeout);

  // The next whole line. kTimeout; kIo when the other side has gone; kCorrupt for a line beyond
  // 4096 bytes.
  Result<GuestLine> read_line(Nanoseconds timeout);

  // Reads until a line has `key`. A line with error= or check=FAILED before it ends the wait with
  // kCorrupt and the line in the message.
  Result<GuestLine> wait_for(const std::string& key, Nanoseconds timeout);

  // Sends a command byte: 'r' report, 'g' report and reset the largest gap, 'c' full check, 's'
  // stop or go on writing, 'q' final check and quit.
  Result<void> send(char command);

  // Sends `command` and waits for the line that answers it (`key` as in wait_for). Lines that were
  // received before are dropped, so an older report is not taken for the answer.
  Result<GuestLine> ask(char command, const std::string& key, Nanoseconds timeout);

  [[nodiscard]] int fd() const { return fd_.get(); }

 private:
  explicit SerialClient(UniqueFd fd) : fd_(std::move(fd)) {}
  std::optional<std::string> take_line();
  Result<void> fill(TimePoint deadline);
  [[nodiscard]] std::string recent() const;

  UniqueFd fd_;
  std::string buffer_;
  std::deque<std::string> recent_;  // the last lines, for error messages
};

}  // namespace godwit::bench
