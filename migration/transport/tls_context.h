// What every TLS connection of one side shares: keys, the authority, the settings. TLS 1.3 only, no
// session tickets, both sides present a certificate of the authority.
#pragma once
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "migration/transport/openssl_util.h"
#include "vmm/base/error.h"

namespace godwit::migration {

struct TlsOptions {
  // Holds ca-cert.pem and, by role, server-cert.pem and server-key.pem, or client-cert.pem and
  // client-key.pem.
  std::filesystem::path directory;
  // Server side: who may connect. Shell patterns (fnmatch(3)) for a client certificate's common
  // name or one of its alternative names; one match is enough; empty: whoever the authority
  // certified.
  std::vector<std::string> authorized;
};

enum class TlsRole { kClient, kServer };

// Immutable after load(): any number of threads and connections may share it.
class TlsContext {
 public:
  // Errors: kNotFound naming the file and how to make it, kPermission (a key that others can read,
  // a file we cannot), kInvalidArgument (unreadable, expired, not yet valid, key of another
  // certificate).
  static Result<std::shared_ptr<const TlsContext>> load(TlsRole role, const TlsOptions& options);

  // A connection's state, not yet connected to anything.
  [[nodiscard]] SslPtr new_connection() const;
  [[nodiscard]] TlsRole role() const { return role_; }
  [[nodiscard]] const std::vector<std::string>& authorized() const { return authorized_; }

 private:
  TlsContext(TlsRole role, SslContextPtr context, std::vector<std::string> authorized)
      : role_(role), context_(std::move(context)), authorized_(std::move(authorized)) {}
  TlsRole role_;
  SslContextPtr context_;
  std::vector<std::string> authorized_;
};

}  // namespace godwit::migration
