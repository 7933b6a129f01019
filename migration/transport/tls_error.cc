#include "migration/transport/tls_error.h"

#include <openssl/sslerr.h>

namespace godwit::migration {
namespace {

// In words, for the alerts that a peer's checks of our certificate end in; null for others.
const char* refusal_of_alert(int alert) {
  switch (alert) {
    case SSL_AD_UNKNOWN_CA:
      return "it trusts another authority than the one that signed our certificate (compare the "
             "ca-cert.pem files)";
    case SSL_AD_CERTIFICATE_EXPIRED:
      return "our certificate has expired, or the clocks differ";
    case SSL_AD_BAD_CERTIFICATE:
    case SSL_AD_UNSUPPORTED_CERTIFICATE:
    case SSL_AD_CERTIFICATE_REVOKED:
    case SSL_AD_CERTIFICATE_UNKNOWN:
    case SSL_AD_CERTIFICATE_REQUIRED:
      return "it does not accept our certificate";
    case SSL_AD_ACCESS_DENIED:
    case SSL_AD_HANDSHAKE_FAILURE:
      return "our certificate is not among those that it admits, or no cipher is common to both";
    default:
      return nullptr;
  }
}

}  // namespace

bool is_peer_alert(const OpensslError& error) {
  return error.reason >= SSL_AD_REASON_OFFSET && error.reason < SSL_AD_REASON_OFFSET + 256;
}

Error describe_tls_error(const OpensslError& error, const std::string& peer, std::string_view doing,
                         Errc otherwise) {
  const int alert = is_peer_alert(error) ? error.reason - SSL_AD_REASON_OFFSET : -1;
  if (error.reason == SSL_R_UNSUPPORTED_PROTOCOL || error.reason == SSL_R_WRONG_SSL_VERSION ||
      alert == SSL_AD_PROTOCOL_VERSION) {
    return make_error(Errc::kIncompatible,
                      "{} does not speak TLS 1.3, and nothing older is accepted", peer);
  }
  if (error.reason == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE) {
    return make_error(Errc::kPermission,
                      "{} sent no certificate: it needs one that our authority signed", peer);
  }
  if (const char* refusal = alert >= 0 ? refusal_of_alert(alert) : nullptr) {
    return make_error(Errc::kPermission, "{} refused this side: {} ({}); its own log says more",
                      peer, refusal, error.text);
  }
  return make_error(otherwise, "TLS with {} failed while {}: {}", peer, doing, error.text);
}

}  // namespace godwit::migration
