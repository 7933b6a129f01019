// Ownership of OpenSSL objects, and its errors in words.
#pragma once
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <memory>
#include <string>
#include <vector>

namespace godwit::migration {

template <auto kFree>
struct OpensslFree {
  template <class T>
  void operator()(T* object) const {
    kFree(object);
  }
};
template <class T, auto kFree>
using OpensslPtr = std::unique_ptr<T, OpensslFree<kFree>>;

using BioPtr = OpensslPtr<BIO, BIO_free_all>;
using KeyPtr = OpensslPtr<EVP_PKEY, EVP_PKEY_free>;
using CertificatePtr = OpensslPtr<X509, X509_free>;
using SslContextPtr = OpensslPtr<SSL_CTX, SSL_CTX_free>;
using SslPtr = OpensslPtr<SSL, SSL_free>;

// Empties the thread's error queue; returns the reason of its first entry, as 0 or ERR_GET_REASON,
// and all of it in words ("no reason given" when empty).
struct OpensslError {
  int reason = 0;
  std::string text;
};
OpensslError take_openssl_error();

// The certificate's names: its common name first (if any), then its DNS and IP alternative names.
std::vector<std::string> certificate_names(const X509* certificate);
std::string common_name(const X509_NAME* name);
// "2026-11-22 04:10:00 UTC".
std::string time_text(const ASN1_TIME* time);

}  // namespace godwit::migration
