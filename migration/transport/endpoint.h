// Where a migration goes to or comes from: tcp://HOST:PORT or unix://PATH.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "vmm/base/error.h"

namespace godwit::migration {

struct Endpoint {
  enum class Kind { kTcp, kUnix };
  Kind kind = Kind::kTcp;
  std::string host;  // a name, an IPv4 or an IPv6 address without brackets (a %zone is kept)
  uint16_t port = 0;
  std::string path;  // kUnix

  bool operator==(const Endpoint&) const = default;
  // The inverse of parse_endpoint.
  [[nodiscard]] std::string to_string() const;
};

// "tcp://host2:7000", "tcp://10.0.0.2:7000", "tcp://[fe80::1%eth0]:7000", "unix:///run/x.sock".
// Port 0 is accepted: a listener takes any free port. kInvalidArgument says what is wrong and shows
// the right form.
Result<Endpoint> parse_endpoint(std::string_view text);

}  // namespace godwit::migration
