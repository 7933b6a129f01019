// Keys and certificates in memory: an authority and what it signs. ECDSA on P-256, which every
// TLS 1.3 peer must support (RFC 8446 section 9.1). Profiles follow RFC 5280.
#pragma once
#include <ctime>
#include <string>
#include <string_view>
#include <vector>

#include "migration/transport/openssl_util.h"
#include "vmm/base/error.h"

namespace godwit::migration {

// In seconds of the epoch.
struct Validity {
  time_t from = 0;
  time_t until = 0;
};

enum class CertificateUse { kServer, kClient };

struct PemPair {
  std::string certificate;
  std::string key;  // unencrypted: the file's mode protects it
};

class CertificateAuthority {
 public:
  // A new key and a self-signed certificate; its name carries random digits, so that two
  // authorities are told apart in messages.
  static CertificateAuthority create(Validity validity);
  // Errors: kInvalidArgument, naming `what` ("DIR/ca-key.pem"...), when a part does not parse, the
  // certificate is no authority's, or key and certificate do not belong together.
  static Result<CertificateAuthority> load(std::string_view certificate_pem,
                                           std::string_view key_pem, const std::string& what);

  // A certificate for `names` (DNS names, IPv4 and IPv6 addresses; at least one), never valid
  // longer than the authority itself. kInvalidArgument names a name that is none.
  Result<PemPair> issue(const std::vector<std::string>& names, CertificateUse use,
                        Validity validity) const;

  [[nodiscard]] PemPair pem() const;

 private:
  CertificateAuthority(CertificatePtr certificate, KeyPtr key)
      : certificate_(std::move(certificate)), key_(std::move(key)) {}
  CertificatePtr certificate_;
  KeyPtr key_;
};

}  // namespace godwit::migration
