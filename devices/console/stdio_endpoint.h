// The VMM's own standard input and output.
//
// Standard input may be anything: a terminal, a pipe, a file, closed. Its end is no error: the
// guest just gets no more input. A terminal is put into raw mode (every key reaches the guest,
// Ctrl-C too) if this process is in its foreground, and put back at the end, also at exit(). Two
// keys stay ours there: Ctrl-A x ends the VMM as SIGTERM does, Ctrl-A Ctrl-A sends one Ctrl-A.
#pragma once
#include <termios.h>

#include <optional>

#include "devices/console/endpoint.h"
#include "vmm/base/error.h"
#include "vmm/base/fd.h"

namespace godwit::devices {

// Puts a terminal into raw mode while it lives; does nothing to what is no terminal, or not ours.
class RawTerminal {
 public:
  explicit RawTerminal(int fd);
  ~RawTerminal();
  RawTerminal(const RawTerminal&) = delete;
  RawTerminal& operator=(const RawTerminal&) = delete;
  [[nodiscard]] bool active() const { return saved_.has_value(); }

 private:
  int fd_;
  std::optional<termios> saved_;
};

class StdioEndpoint final : public ConsoleEndpoint {
 public:
  // The descriptors stay the caller's. Neither is made non-blocking: others may share them.
  explicit StdioEndpoint(int input = 0, int output = 1);

  Ready prepare(bool want_input, bool want_output, PollSet set) override;
  Ready after_poll(PollSet set) override;
  size_t read(std::span<std::byte> to) override;
  Written write(std::span<const std::byte> bytes) override;

 private:
  enum class OutputKind { kNonBlocking, kSocket, kFile, kMayBlock };
  void open_output();
  // Takes the escape sequences out of `bytes`; returns how many stay.
  size_t filter_keys(std::span<std::byte> bytes);

  int input_;
  int output_;
  UniqueFd own_output_;  // a non-blocking description of our own
  OutputKind output_kind_ = OutputKind::kMayBlock;
  RawTerminal terminal_;
  bool input_ended_ = false;
  bool after_escape_ = false;
};

}  // namespace godwit::devices
