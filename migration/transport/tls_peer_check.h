// Who may be at the other end of a TLS connection, and words for who may not.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "migration/transport/openssl_util.h"
#include "vmm/base/error.h"

namespace godwit::migration {

// Hooks into the verification of one connection; outlives it. Beyond the chain up to the authority:
// a client asks that the server's certificate is for the host that it dialed (RFC 6125, alternative
// names only, no partial wildcards), a server that the client is among the authorized.
class TlsPeerCheck {
 public:
  // `expected_host`: a DNS name or an IP address (a %zone is ignored); empty: any host.
  // `authorized`: see TlsOptions; empty: anyone.
  TlsPeerCheck(SSL* ssl, std::string peer, std::string expected_host,
               std::vector<std::string> authorized);
  TlsPeerCheck(const TlsPeerCheck&) = delete;
  TlsPeerCheck& operator=(const TlsPeerCheck&) = delete;

  // Why the peer's certificate was refused (kPermission), once it was.
  [[nodiscard]] const std::optional<Error>& refusal() const { return refusal_; }

 private:
  static int on_certificate(int preverified, X509_STORE_CTX* store);
  void refuse(X509_STORE_CTX* store);
  [[nodiscard]] bool authorized(const X509* certificate) const;

  std::string peer_;
  std::string expected_host_;
  std::vector<std::string> authorized_;
  std::optional<Error> refusal_;
};

}  // namespace godwit::migration
