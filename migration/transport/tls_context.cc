#include "migration/transport/tls_context.h"

#include <openssl/err.h>
#include <openssl/pem.h>

#include <stdexcept>

#include "migration/transport/certs.h"
#include "migration/transport/safe_file.h"

namespace godwit::migration {
namespace {

namespace fs = std::filesystem;

// One read() fetches what sixteen full records need.
constexpr size_t kReadBufferBytes = 272 << 10;

void require(bool ok, const char* what) {
  if (!ok) throw std::runtime_error(std::string(what) + ": " + take_openssl_error().text);
}

// AES-256-GCM is several times as fast as ChaCha20 where the CPU has AES, and slower where not.
const char* cipher_preference() {
#if defined(__x86_64__)
  if (!__builtin_cpu_supports("aes")) {
    return "TLS_CHACHA20_POLY1305_SHA256:TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256";
  }
#endif
  return "TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256";
}

// A key with a pass phrase must not make OpenSSL ask on the terminal.
int no_passphrase(char*, int, int, void*) {
  return -1;
}

SslContextPtr new_context(TlsRole role) {
  SslContextPtr context(
      SSL_CTX_new(role == TlsRole::kServer ? TLS_server_method() : TLS_client_method()));
  require(context != nullptr, "SSL_CTX_new");
  SSL_CTX* raw = context.get();
  require(SSL_CTX_set_min_proto_version(raw, TLS1_3_VERSION) == 1, "set_min_proto_version");
  require(SSL_CTX_set_max_proto_version(raw, TLS1_3_VERSION) == 1, "set_max_proto_version");
  require(SSL_CTX_set_ciphersuites(raw, cipher_preference()) == 1, "set_ciphersuites");
  require(SSL_CTX_set_num_tickets(raw, 0) == 1, "set_num_tickets");
  SSL_CTX_set_session_cache_mode(raw, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_options(raw, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_TICKET);
  SSL_CTX_set_mode(raw, SSL_MODE_AUTO_RETRY);
  SSL_CTX_set_read_ahead(raw, 1);
  SSL_CTX_set_default_read_buffer_len(raw, kReadBufferBytes);
  SSL_CTX_set_default_passwd_cb(raw, no_passphrase);
  return context;
}

Result<SmallFile> read_tls_file(const fs::path& path) {
  auto file = read_small_file(path);
  if (!file && file.error().code == Errc::kNotFound) {
    return make_error(Errc::kNotFound,
                      "the TLS file {} does not exist: 'godwit certs {}' makes all of them",
                      path.string(), path.parent_path().string());
  }
  return file;
}

BioPtr reader_of(const std::string& text) {
  BioPtr bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
  require(bio != nullptr, "BIO_new_mem_buf");
  return bio;
}

CertificatePtr next_certificate(BIO* bio) {
  return CertificatePtr(PEM_read_bio_X509(bio, nullptr, no_passphrase, nullptr));
}

Error unreadable(const fs::path& path, std::string_view what) {
  return make_error(Errc::kInvalidArgument, "{} holds no {} in PEM form: {}", path.string(), what,
                    take_openssl_error().text);
}

Result<> check_dates(const X509* certificate, const fs::path& path) {
  if (X509_cmp_current_time(X509_get0_notAfter(certificate)) < 0) {
    return make_error(Errc::kInvalidArgument,
                      "{} expired on {}: make a new one ('godwit certs --force {}')", path.string(),
                      time_text(X509_get0_notAfter(certificate)), path.parent_path().string());
  }
  if (X509_cmp_current_time(X509_get0_notBefore(certificate)) > 0) {
    return make_error(Errc::kInvalidArgument,
                      "{} is valid only from {} on: is this host's clock right?", path.string(),
                      time_text(X509_get0_notBefore(certificate)));
  }
  return {};
}

Result<> use_authority(SSL_CTX* context, const fs::path& path) {
  GODWIT_ASSIGN(const auto file, read_tls_file(path));
  const BioPtr bio = reader_of(file.content);
  X509_STORE* store = SSL_CTX_get_cert_store(context);
  int count = 0;
  while (const auto certificate = next_certificate(bio.get())) {
    GODWIT_TRY(check_dates(certificate.get(), path));
    require(X509_STORE_add_cert(store, certificate.get()) == 1, "X509_STORE_add_cert");
    ++count;
  }
  if (count == 0) return unreadable(path, "certificate");
  ERR_clear_error();  // the end of the file
  return {};
}

Result<> use_certificate(SSL_CTX* context, const fs::path& path) {
  GODWIT_ASSIGN(const auto file, read_tls_file(path));
  const BioPtr bio = reader_of(file.content);
  const auto leaf = next_certificate(bio.get());
  if (!leaf) return unreadable(path, "certificate");
  GODWIT_TRY(check_dates(leaf.get(), path));
  if (SSL_CTX_use_certificate(context, leaf.get()) != 1) return unreadable(path, "certificate");
  while (const auto intermediate = next_certificate(bio.get())) {
    require(SSL_CTX_add1_chain_cert(context, intermediate.get()) == 1, "SSL_CTX_add1_chain_cert");
  }
  ERR_clear_error();
  return {};
}

Result<> use_key(SSL_CTX* context, const fs::path& path, const fs::path& certificate_path) {
  GODWIT_ASSIGN(const auto file, read_tls_file(path));
  if ((file.mode & 0077) != 0) {
    return make_error(Errc::kPermission,
                      "the private key {} is open to other users (mode {:04o}): chmod 600 it",
                      path.string(), file.mode & 07777);
  }
  const KeyPtr key(
      PEM_read_bio_PrivateKey(reader_of(file.content).get(), nullptr, no_passphrase, nullptr));
  if (!key) return unreadable(path, "private key without a pass phrase");
  if (X509_check_private_key(SSL_CTX_get0_certificate(context), key.get()) != 1) {
    ERR_clear_error();
    return make_error(Errc::kInvalidArgument, "the private key {} does not belong to {}",
                      path.string(), certificate_path.string());
  }
  if (SSL_CTX_use_PrivateKey(context, key.get()) != 1) return unreadable(path, "usable key");
  return {};
}

}  // namespace

Result<std::shared_ptr<const TlsContext>> TlsContext::load(TlsRole role,
                                                           const TlsOptions& options) {
  const bool server = role == TlsRole::kServer;
  const fs::path certificate =
      options.directory / (server ? kServerCertificateFile : kClientCertificateFile);
  const fs::path key = options.directory / (server ? kServerKeyFile : kClientKeyFile);
  SslContextPtr context = new_context(role);
  GODWIT_TRY(use_authority(context.get(), options.directory / kCaCertificateFile));
  GODWIT_TRY(use_certificate(context.get(), certificate));
  GODWIT_TRY(use_key(context.get(), key, certificate));
  return std::shared_ptr<const TlsContext>(
      new TlsContext(role, std::move(context), options.authorized));
}

SslPtr TlsContext::new_connection() const {
  SslPtr ssl(SSL_new(context_.get()));
  require(ssl != nullptr, "SSL_new");
  if (role_ == TlsRole::kServer) {
    SSL_set_accept_state(ssl.get());
  } else {
    SSL_set_connect_state(ssl.get());
  }
  return ssl;
}

}  // namespace godwit::migration
