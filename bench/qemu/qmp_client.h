// QEMU's machine protocol over a connected socket (QEMU: docs/interop/qmp-spec.txt).
#pragma once
#include <boost/json.hpp>
#include <deque>
#include <optional>
#include <string>
#include <string_view>

#include "vmm/base/clock.h"
#include "vmm/base/error.h"
#include "vmm/base/fd.h"

namespace godwit::bench {

// Not thread-safe. Events that arrive while a command waits for its answer are kept for next_event.
class QmpClient {
 public:
  QmpClient() = default;
  explicit QmpClient(UniqueFd fd) : fd_(std::move(fd)) {}

  // Waits for the greeting and leaves negotiation mode.
  Result<void> negotiate(Nanoseconds timeout);

  // What QEMU returns; kIo with QEMU's own words if it refuses, kTimeout.
  Result<boost::json::value> command(std::string_view name, boost::json::object arguments = {},
                                     Nanoseconds timeout = std::chrono::seconds(30));

  // The next event, in the order in which they came: {"event": NAME, "data": {...}, ...}.
  Result<boost::json::object> next_event(Nanoseconds timeout);

 private:
  Result<boost::json::object> read_message(TimePoint deadline);

  UniqueFd fd_;
  std::string buffer_;
  std::deque<boost::json::object> events_;
  uint64_t next_id_ = 1;
};

}  // namespace godwit::bench
