#include "migration/transport/resolve.h"

#include <boost/asio/io_context.hpp>
#include <memory>
#include <mutex>
#include <optional>

namespace godwit::migration {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;

struct Lookup {
  asio::io_context io;
  tcp::resolver resolver{io};
  std::optional<boost::system::error_code> outcome;
  std::vector<tcp::endpoint> addresses;

  void start(const Endpoint& endpoint) {
    resolver.async_resolve(
        endpoint.host, std::to_string(endpoint.port), tcp::resolver::numeric_service,
        [this](const boost::system::error_code& error, const tcp::resolver::results_type& found) {
          outcome = error;
          for (const auto& entry : found) addresses.push_back(entry.endpoint());
        });
  }
};

// Destroying a lookup waits for getaddrinfo(3), which may take half a minute: one that was given up
// is parked until it has ended. Never destroyed itself, so that the process can end meanwhile.
class Parking {
 public:
  void park(std::unique_ptr<Lookup> lookup) {
    const std::lock_guard lock(mutex_);
    lookups_.push_back(std::move(lookup));
  }
  void reap() {
    const std::lock_guard lock(mutex_);
    std::erase_if(lookups_, [](const auto& lookup) {
      lookup->io.restart();
      lookup->io.poll();
      return lookup->outcome.has_value();
    });
  }
  static Parking& instance() {
    static auto* const parking = new Parking;
    return *parking;
  }

 private:
  std::mutex mutex_;
  std::vector<std::unique_ptr<Lookup>> lookups_;
};

}  // namespace

Result<std::vector<tcp::endpoint>> resolve(const Endpoint& endpoint, TimePoint deadline,
                                           Cancellation& cancellation) {
  boost::system::error_code not_literal;
  const auto literal = asio::ip::make_address(endpoint.host, not_literal);
  if (!not_literal) return std::vector{tcp::endpoint(literal, endpoint.port)};

  Parking::instance().reap();
  auto lookup = std::make_unique<Lookup>();
  lookup->start(endpoint);
  {
    const Cancellation::Scope scope(cancellation, [&lookup] { lookup->io.stop(); });
    lookup->io.run_until(deadline);
  }
  if (!lookup->outcome) {
    Parking::instance().park(std::move(lookup));
    if (cancellation.cancelled()) {
      return make_error(Errc::kCancelled, "looking up '{}' was cancelled", endpoint.host);
    }
    return make_error(Errc::kTimeout, "looking up the host '{}' took too long", endpoint.host);
  }
  if (lookup->outcome->failed() || lookup->addresses.empty()) {
    const bool unknown =
        *lookup->outcome == asio::error::host_not_found || *lookup->outcome == asio::error::no_data;
    return make_error(unknown ? Errc::kNotFound : Errc::kIo, "cannot look up the host '{}': {}",
                      endpoint.host, lookup->outcome->message());
  }
  return std::move(lookup->addresses);
}

}  // namespace godwit::migration
