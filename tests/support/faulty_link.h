// A connector and an acceptor joined in memory; connection k fails as script k says.
#pragma once
#include <deque>

#include "tests/support/faulty_channel.h"

namespace godwit::support {

// The connecting side's ends are the wrapped ones: a script's kSend is source to target.
// Connections beyond the last script have no faults. Outlives its connector and acceptor, not
// necessarily the channels.
class FaultyLink {
 public:
  explicit FaultyLink(std::vector<FaultScript> scripts = {}, size_t pipe_bytes = kDefaultPipeBytes);
  ~FaultyLink();

  [[nodiscard]] migration::Connector& connector();
  [[nodiscard]] migration::Acceptor& acceptor();

  // Connections made so far, and what passed on connection k (0 when never made). A clean run
  // tells a test where the interesting bytes are.
  [[nodiscard]] size_t connections() const;
  [[nodiscard]] uint64_t bytes_sent(size_t k) const;
  [[nodiscard]] uint64_t bytes_received(size_t k) const;
  // Ends every connection made so far, as a dead network or a killed peer would; any thread.
  void cut_all();

 private:
  class LinkConnector;
  class LinkAcceptor;
  struct State;
  std::shared_ptr<State> state_;
  std::unique_ptr<LinkConnector> connector_;
  std::unique_ptr<LinkAcceptor> acceptor_;
};

}  // namespace godwit::support
