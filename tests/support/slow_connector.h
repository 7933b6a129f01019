// A connector whose first connection is slow: answers there take a while.
#pragma once
#include <memory>

#include "migration/channel.h"

namespace godwit::support {

// The first connection of a migration is the control connection. Its connecting side hears nothing
// for `delay` after each flush. `inner` outlives this.
class SlowConnector final : public migration::Connector {
 public:
  SlowConnector(migration::Connector& inner, Nanoseconds delay) : inner_(inner), delay_(delay) {}
  Result<std::unique_ptr<migration::Channel>> connect(Nanoseconds limit) override;
  void cancel() noexcept override { inner_.cancel(); }

 private:
  migration::Connector& inner_;
  Nanoseconds delay_;
};

}  // namespace godwit::support
