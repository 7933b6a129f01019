// TLS directories and connections for the tests.
#pragma once
#include <gtest/gtest.h>

#include <ctime>
#include <optional>
#include <thread>

#include "migration/transport/certificate_authority.h"
#include "migration/transport/certs.h"
#include "migration/transport/deadline.h"
#include "migration/transport/tls_channel.h"
#include "tests/transport/socket_pair.h"
#include "tests/transport/temporary_directory.h"

namespace godwit::migration {

inline constexpr time_t kTestDay = 86400;

inline Validity days_from_now(int from, int until) {
  const time_t now = std::time(nullptr);
  return {now + from * kTestDay, now + until * kTestDay};
}

// Fills `directory` with an authority's certificate and what it issues.
inline void write_tls_files(const std::filesystem::path& directory,
                            const CertificateAuthority& authority,
                            const std::vector<std::string>& names,
                            Validity validity = days_from_now(-1, 30)) {
  std::filesystem::create_directories(directory);
  const auto server = authority.issue(names, CertificateUse::kServer, validity).value();
  const auto client = authority.issue(names, CertificateUse::kClient, validity).value();
  write_text(directory / kCaCertificateFile, authority.pem().certificate);
  write_text(directory / kServerCertificateFile, server.certificate);
  write_text(directory / kServerKeyFile, server.key);
  write_text(directory / kClientCertificateFile, client.certificate);
  write_text(directory / kClientKeyFile, client.key);
}

struct TlsOutcome {
  Result<std::unique_ptr<TlsChannel>> client;
  Result<std::unique_ptr<TlsChannel>> server;
};

// Both handshakes over one socket pair.
inline TlsOutcome shake_hands(const TlsContext& client, const TlsContext& server,
                              const std::string& dialed_host, SocketPair sockets) {
  const auto deadline = deadline_after(std::chrono::seconds(20));
  TlsOutcome outcome{make_error(Errc::kIo, "not run"), make_error(Errc::kIo, "not run")};
  std::thread serving([&] {
    outcome.server = TlsChannel::handshake(std::move(sockets.second), server, "", deadline);
  });
  outcome.client = TlsChannel::handshake(std::move(sockets.first), client, dialed_host, deadline);
  serving.join();
  return outcome;
}

class TlsTest : public testing::Test {
 protected:
  TlsTest() { write_tls_files(directory_.path(), authority_, {"host2", "127.0.0.1", "::1"}); }

  std::shared_ptr<const TlsContext> context(TlsRole role,
                                            std::vector<std::string> authorized = {}) const {
    return context_in(directory_.path(), role, std::move(authorized));
  }
  static std::shared_ptr<const TlsContext> context_in(const std::filesystem::path& directory,
                                                      TlsRole role,
                                                      std::vector<std::string> authorized = {}) {
    return TlsContext::load(role, {directory, std::move(authorized)}).value();
  }
  TlsOutcome connect(SocketPair sockets = tcp_pair()) const {
    return shake_hands(*context(TlsRole::kClient), *context(TlsRole::kServer), "127.0.0.1",
                       std::move(sockets));
  }

  CertificateAuthority authority_ = CertificateAuthority::create(days_from_now(-10, 100));
  TemporaryDirectory directory_;
};

}  // namespace godwit::migration
