// What OpenSSL's reasons mean to a person.
#pragma once
#include <optional>
#include <string>

#include "migration/transport/openssl_util.h"
#include "vmm/base/error.h"

namespace godwit::migration {

// `error` said while `doing` with `peer` ("the TLS handshake", "receiving"). Alerts of the peer,
// protocol versions and missing certificates get a text and a code of their own; others have
// `otherwise`.
Error describe_tls_error(const OpensslError& error, const std::string& peer, std::string_view doing,
                         Errc otherwise);
// Whether `error` is an alert that the peer sent.
bool is_peer_alert(const OpensslError& error);

}  // namespace godwit::migration
