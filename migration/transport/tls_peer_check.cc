#include "migration/transport/tls_peer_check.h"

#include <fnmatch.h>

#include <algorithm>
#include <stdexcept>

namespace godwit::migration {
namespace {

int connection_index() {
  static const int index = SSL_get_ex_new_index(0, nullptr, nullptr, nullptr, nullptr);
  return index;
}

std::string join(const std::vector<std::string>& items) {
  std::string text;
  for (const auto& item : items) text += (text.empty() ? "" : ", ") + item;
  return text.empty() ? "nobody" : text;
}

void expect_host(SSL* ssl, const std::string& host) {
  SSL_set_hostflags(ssl,
                    X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
  if (X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host.c_str()) == 1) return;
  // Not an address, so a name; the server may choose its certificate by it.
  if (SSL_set1_host(ssl, host.c_str()) != 1 || SSL_set_tlsext_host_name(ssl, host.c_str()) != 1) {
    throw std::runtime_error("SSL_set1_host: " + take_openssl_error().text);
  }
}

}  // namespace

TlsPeerCheck::TlsPeerCheck(SSL* ssl, std::string peer, std::string expected_host,
                           std::vector<std::string> authorized)
    : peer_(std::move(peer)),
      expected_host_(std::move(expected_host)),
      authorized_(std::move(authorized)) {
  if (const auto zone = expected_host_.find('%'); zone != std::string::npos) {
    expected_host_.resize(zone);
  }
  SSL_set_ex_data(ssl, connection_index(), this);
  SSL_set_verify(ssl, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, &on_certificate);
  if (!expected_host_.empty()) expect_host(ssl, expected_host_);
}

int TlsPeerCheck::on_certificate(int preverified, X509_STORE_CTX* store) {
  const auto* ssl =
      static_cast<SSL*>(X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()));
  auto* self = static_cast<TlsPeerCheck*>(SSL_get_ex_data(ssl, connection_index()));
  const X509* certificate = X509_STORE_CTX_get_current_cert(store);
  const bool leaf = X509_STORE_CTX_get_error_depth(store) == 0;
  if (preverified == 1 && leaf && certificate != nullptr && !self->authorized(certificate)) {
    X509_STORE_CTX_set_error(store, X509_V_ERR_APPLICATION_VERIFICATION);
    preverified = 0;
  }
  if (preverified != 1) self->refuse(store);
  return preverified;
}

bool TlsPeerCheck::authorized(const X509* certificate) const {
  if (authorized_.empty()) return true;
  const auto names = certificate_names(certificate);
  return std::any_of(authorized_.begin(), authorized_.end(), [&](const std::string& pattern) {
    return std::any_of(names.begin(), names.end(), [&](const std::string& name) {
      return ::fnmatch(pattern.c_str(), name.c_str(), 0) == 0;
    });
  });
}

void TlsPeerCheck::refuse(X509_STORE_CTX* store) {
  const X509* certificate = X509_STORE_CTX_get_current_cert(store);
  if (certificate == nullptr) certificate = X509_STORE_CTX_get0_cert(store);
  const int error = X509_STORE_CTX_get_error(store);
  const std::string names =
      certificate != nullptr ? join(certificate_names(certificate)) : "nobody";
  const auto because = [&](std::string text) {
    refusal_ = make_error(Errc::kPermission, "the certificate of {} {}", peer_, text);
  };
  switch (error) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
      return because(
          fmt::format("(for {}) expired on {}", names, time_text(X509_get0_notAfter(certificate))));
    case X509_V_ERR_CERT_NOT_YET_VALID:
      return because(fmt::format("(for {}) is valid only from {} on: compare the hosts' clocks",
                                 names, time_text(X509_get0_notBefore(certificate))));
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
      return because(
          fmt::format("is for {}, not for {} that was dialed: dial one of its names, or make a "
                      "certificate that has this one",
                      names, expected_host_));
    case X509_V_ERR_APPLICATION_VERIFICATION:
      return because(fmt::format("is for {}, which no --tls-authz pattern admits ({})", names,
                                 join(authorized_)));
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
      return because(
          fmt::format("(for {}) is signed by '{}', another authority than the one in our {}", names,
                      certificate != nullptr ? common_name(X509_get_issuer_name(certificate)) : "",
                      "ca-cert.pem"));
    default:
      return because(
          fmt::format("(for {}) is refused: {}", names, X509_verify_cert_error_string(error)));
  }
}

}  // namespace godwit::migration
