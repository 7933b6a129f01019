#include "tools/godwit/cli/progress_display.h"

#include <fmt/core.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "tools/godwit/report/migration_report.h"

namespace godwit::tools {
namespace {

constexpr size_t kPlainWidth = 200;
constexpr size_t kUnknownWidth = 80;
// In a file, short iterations share a line.
constexpr Nanoseconds kBetweenIterationLines = std::chrono::milliseconds(500);

// Asked each time: the window may have changed.
size_t columns(std::FILE* to) {
  winsize size{};
  if (::ioctl(::fileno(to), TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return kUnknownWidth;
  return size.ws_col;
}

}  // namespace

ProgressDisplay::ProgressDisplay(std::FILE* to) : to_(to), terminal_(::isatty(::fileno(to)) == 1) {}

void ProgressDisplay::show(const migration::Progress& progress) {
  const bool iterated =
      progress.iteration != last_iteration_ && now() - last_line_ >= kBetweenIterationLines;
  const bool news = progress.status != last_status_ || iterated;
  if (terminal_) {
    // One column less: a full line would wrap.
    fmt::print(to_, "\r\x1b[K{}", format_progress(progress, columns(to_) - 1));
    shown_ = true;
  } else if (news) {
    fmt::print(to_, "{}\n", format_progress(progress, kPlainWidth));
    last_status_ = progress.status;
    last_iteration_ = progress.iteration;
    last_line_ = now();
  }
  std::fflush(to_);
}

void ProgressDisplay::clear() {
  if (!shown_) return;
  fmt::print(to_, "\r\x1b[K");
  std::fflush(to_);
  shown_ = false;
}

}  // namespace godwit::tools
