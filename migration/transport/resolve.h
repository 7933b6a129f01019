// Host names to addresses, within a time limit.
#pragma once
#include <boost/asio/ip/tcp.hpp>
#include <string>
#include <vector>

#include "migration/transport/cancellation.h"
#include "migration/transport/endpoint.h"
#include "vmm/base/clock.h"

namespace godwit::migration {

// The addresses of a TCP endpoint, at least one, in the order to be tried; a literal address needs
// no lookup. Errors: kNotFound (no such host), kTimeout, kCancelled, kIo (the name service failed).
// The system's resolver cannot be interrupted: a lookup that is given up ends by itself, in the
// background.
Result<std::vector<boost::asio::ip::tcp::endpoint>> resolve(const Endpoint& endpoint,
                                                            TimePoint deadline,
                                                            Cancellation& cancellation);

}  // namespace godwit::migration
