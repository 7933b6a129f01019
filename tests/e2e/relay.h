// A link that a test can cut: listens on the loopback, passes every connection on to a target, and
// goes bad at a chosen place.
#pragma once
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "vmm/base/fd.h"

namespace godwit::e2e {

struct RelayFault {
  enum class Kind {
    kNone,
    kClose,      // every connection is closed
    kBlackhole,  // connections stay, but no byte passes any more, in either direction
  };
  Kind kind = Kind::kNone;
  // The fault comes once so many bytes have come from the source, all connections together ...
  uint64_t after_bytes = UINT64_MAX;
  // ... or once these bytes have come in one piece.
  std::string at_text = {};
  // Whether the target still gets the bytes that brought the fault.
  bool deliver = false;
  // Whether connections made after the fault are good again.
  bool heals = false;
};

// A thread of its own. Construction and destruction by one thread.
class Relay {
 public:
  // `target`: "tcp://127.0.0.1:PORT".
  Relay(const std::string& target, RelayFault fault);
  ~Relay();
  Relay(const Relay&) = delete;
  Relay& operator=(const Relay&) = delete;

  [[nodiscard]] const std::string& url() const { return url_; }
  [[nodiscard]] bool faulty() const { return faulty_; }

 private:
  struct Pair {
    UniqueFd source;
    UniqueFd target;
    bool dead = false;  // nothing passes any more
  };
  void run();
  void accept_one();
  // False: the connection is over.
  bool pass(Pair& pair, bool from_source);
  [[nodiscard]] bool brings_fault(std::string_view bytes);
  void break_link();

  RelayFault fault_;
  uint16_t target_port_;
  std::string url_;
  UniqueFd listener_;
  UniqueFd stop_;  // eventfd
  std::vector<Pair> pairs_;
  bool breaking_ = false;  // the fault has come in this round
  std::atomic<bool> faulty_ = false;
  uint64_t bytes_ = 0;  // from the source
  std::jthread thread_;
};

}  // namespace godwit::e2e
