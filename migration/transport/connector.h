// Connects to a migration's other end.
#pragma once
#include <memory>

#include "migration/channel.h"
#include "migration/transport/endpoint.h"
#include "migration/transport/tls_context.h"

namespace godwit::migration {

// A connector to `endpoint`: TLS with `tls` (of role kClient), plaintext when that is null. Each
// connect() looks the name up anew and tries every address, each with its share of the limit.
// Over TCP a TLS server's certificate must be for the host named in `endpoint`; over a Unix socket
// the file system says who listens, and the authority's signature is enough.
// cancel() is sticky: this connect() and all later ones return kCancelled.
// Errors of connect(): kNotFound (host, socket file), kIo (refused, unreachable), kTimeout,
// kCancelled, kPermission, and TlsChannel::handshake's.
std::unique_ptr<Connector> make_connector(Endpoint endpoint, std::shared_ptr<const TlsContext> tls);

}  // namespace godwit::migration
