// Connectors and acceptors for the tests.
#pragma once
#include "migration/transport/connector.h"
#include "migration/transport/socket_acceptor.h"
#include "tests/transport/tls_fixture.h"

namespace godwit::migration {

// Bounds what should not take long at all.
inline constexpr auto kLimit = std::chrono::seconds(20);

inline Endpoint endpoint(const std::string& text) {
  return parse_endpoint(text).value();
}

class ConnectionTest : public TlsTest {
 protected:
  std::unique_ptr<SocketAcceptor> listen(const std::string& text, bool tls = false,
                                         AcceptorOptions options = {}) {
    auto result =
        SocketAcceptor::listen(endpoint(text), tls ? context(TlsRole::kServer) : nullptr, options);
    EXPECT_TRUE(result) << result.error().message;
    return std::move(*result);
  }
  std::unique_ptr<Connector> connector_to(const Endpoint& target, bool tls = false) {
    return make_connector(target, tls ? context(TlsRole::kClient) : nullptr);
  }
  static Error listen_error(const std::string& text) {
    const auto result = SocketAcceptor::listen(endpoint(text), nullptr);
    EXPECT_FALSE(result) << text;
    return result ? Error{} : result.error();
  }
  std::string socket_url(const std::string& name = "x.sock") const {
    return "unix://" + (directory_ / name).string();
  }
};

}  // namespace godwit::migration
