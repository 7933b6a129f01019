#include "migration/transport/endpoint.h"

#include <sys/un.h>

#include <algorithm>
#include <boost/asio/ip/address_v6.hpp>
#include <charconv>

namespace godwit::migration {
namespace {

constexpr std::string_view kForms = "write tcp://HOST:PORT, tcp://[IPV6]:PORT or unix://PATH";
constexpr size_t kMaxHostBytes = 255;
constexpr size_t kMaxPathBytes = sizeof(sockaddr_un::sun_path) - 1;

template <class... Args>
Error bad(std::string_view text, fmt::format_string<Args...> format, Args&&... args) {
  return make_error(Errc::kInvalidArgument, "bad address '{}': {}", text,
                    fmt::vformat(format, fmt::make_format_args(args...)));
}

bool valid_host(std::string_view host) {
  return host.size() <= kMaxHostBytes && std::all_of(host.begin(), host.end(), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                  c == '-' || c == '.' || c == '_';
         });
}

Result<uint16_t> parse_port(std::string_view text, std::string_view port) {
  if (port.empty()) return bad(text, "the port is missing; {}", kForms);
  uint32_t value = 0;
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), value);
  const bool digits_only = end == port.data() + port.size();
  if (error == std::errc::result_out_of_range || (digits_only && value > 65535)) {
    return bad(text, "port {} is out of range (0 to 65535)", port);
  }
  if (error != std::errc() || !digits_only) return bad(text, "port '{}' is not a number", port);
  return static_cast<uint16_t>(value);
}

Result<Endpoint> parse_bracketed(std::string_view text, std::string_view rest) {
  const auto close = rest.find(']');
  if (close == std::string_view::npos) return bad(text, "the closing ']' is missing; {}", kForms);
  Endpoint endpoint{.host = std::string(rest.substr(1, close - 1))};
  boost::system::error_code ignored;
  boost::asio::ip::make_address_v6(endpoint.host, ignored);
  if (ignored) return bad(text, "'{}' is not an IPv6 address", endpoint.host);
  rest.remove_prefix(close + 1);
  if (rest.empty() || rest.front() != ':') return bad(text, "the port is missing; {}", kForms);
  GODWIT_ASSIGN(endpoint.port, parse_port(text, rest.substr(1)));
  return endpoint;
}

Result<Endpoint> parse_tcp(std::string_view text, std::string_view rest) {
  if (!rest.empty() && rest.front() == '[') return parse_bracketed(text, rest);
  const auto colon = rest.find(':');
  if (colon != rest.rfind(':')) {
    return bad(text, "an IPv6 address stands in brackets: tcp://[ADDRESS]:PORT");
  }
  Endpoint endpoint{.host = std::string(rest.substr(0, colon))};
  if (endpoint.host.empty()) return bad(text, "the host is missing; {}", kForms);
  if (!valid_host(endpoint.host)) return bad(text, "'{}' is not a host name", endpoint.host);
  if (colon == std::string_view::npos) return bad(text, "the port is missing; {}", kForms);
  GODWIT_ASSIGN(endpoint.port, parse_port(text, rest.substr(colon + 1)));
  return endpoint;
}

Result<Endpoint> parse_unix(std::string_view text, std::string_view path) {
  if (path.empty()) return bad(text, "the path is missing; {}", kForms);
  if (path.find('\0') != std::string_view::npos) return bad(text, "a zero byte in the path");
  if (path.size() > kMaxPathBytes) {
    return bad(text, "the path has {} bytes, a Unix socket's at most {}", path.size(),
               kMaxPathBytes);
  }
  return Endpoint{.kind = Endpoint::Kind::kUnix, .path = std::string(path)};
}

}  // namespace

Result<Endpoint> parse_endpoint(std::string_view text) {
  const auto separator = text.find("://");
  if (separator == std::string_view::npos) return bad(text, "the scheme is missing; {}", kForms);
  const auto scheme = text.substr(0, separator);
  const auto rest = text.substr(separator + 3);
  if (scheme == "tcp") return parse_tcp(text, rest);
  if (scheme == "unix") return parse_unix(text, rest);
  return bad(text, "unknown scheme '{}'; {}", scheme, kForms);
}

std::string Endpoint::to_string() const {
  if (kind == Kind::kUnix) return "unix://" + path;
  const bool brackets = host.find(':') != std::string::npos;
  return brackets ? fmt::format("tcp://[{}]:{}", host, port)
                  : fmt::format("tcp://{}:{}", host, port);
}

}  // namespace godwit::migration
