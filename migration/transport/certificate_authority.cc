#include "migration/transport/certificate_authority.h"

#include <arpa/inet.h>
#include <openssl/asn1.h>
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/rand.h>

#include <algorithm>
#include <stdexcept>

namespace godwit::migration {
namespace {

using NamesPtr = OpensslPtr<GENERAL_NAMES, GENERAL_NAMES_free>;
using ExtensionPtr = OpensslPtr<X509_EXTENSION, X509_EXTENSION_free>;
using BignumPtr = OpensslPtr<BIGNUM, BN_free>;
using OctetsPtr = OpensslPtr<ASN1_OCTET_STRING, ASN1_OCTET_STRING_free>;

constexpr int kSerialBits = 127;       // RFC 5280: positive, at most 20 octets
constexpr size_t kMaxCommonName = 64;  // RFC 5280, ub-common-name
constexpr size_t kMaxDnsNameBytes = 253;

// Making certificates fails only when memory or the random source does.
void require(bool ok, const char* what) {
  if (!ok) throw std::runtime_error(std::string(what) + ": " + take_openssl_error().text);
}

void set_common_name(X509_NAME* name, const std::string& text) {
  require(
      X509_NAME_add_entry_by_txt(name, "O", MBSTRING_ASC,
                                 reinterpret_cast<const unsigned char*>("Godwit"), -1, -1, 0) == 1,
      "X509_NAME_add_entry");
  const std::string cut = text.substr(0, kMaxCommonName);
  require(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                                     reinterpret_cast<const unsigned char*>(cut.c_str()), -1, -1,
                                     0) == 1,
          "X509_NAME_add_entry");
}

void add_extension(X509* certificate, X509* issuer, int nid, const char* value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  const ExtensionPtr extension(X509V3_EXT_conf_nid(nullptr, &context, nid, value));
  require(extension != nullptr, "X509V3_EXT_conf_nid");
  require(X509_add_ext(certificate, extension.get(), -1) == 1, "X509_add_ext");
}

// A certificate with a fresh serial and public key, unsigned. OpenSSL writes UTCTime or
// GeneralizedTime as RFC 5280 asks.
CertificatePtr blank_certificate(EVP_PKEY* key, const std::string& name, Validity validity) {
  CertificatePtr certificate(X509_new());
  const BignumPtr serial(BN_new());
  require(certificate && serial, "X509_new");
  require(BN_rand(serial.get(), kSerialBits, BN_RAND_TOP_ANY, BN_RAND_BOTTOM_ANY) == 1, "BN_rand");
  require(BN_to_ASN1_INTEGER(serial.get(), X509_get_serialNumber(certificate.get())) != nullptr,
          "BN_to_ASN1_INTEGER");
  require(X509_set_version(certificate.get(), X509_VERSION_3) == 1, "X509_set_version");
  require(ASN1_TIME_set(X509_getm_notBefore(certificate.get()), validity.from) != nullptr,
          "ASN1_TIME_set");
  require(ASN1_TIME_set(X509_getm_notAfter(certificate.get()), validity.until) != nullptr,
          "ASN1_TIME_set");
  require(X509_set_pubkey(certificate.get(), key) == 1, "X509_set_pubkey");
  set_common_name(X509_get_subject_name(certificate.get()), name);
  return certificate;
}

KeyPtr new_key() {
  KeyPtr key(EVP_EC_gen("P-256"));
  require(key != nullptr, "EVP_EC_gen");
  return key;
}

std::string pem_of(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  return {data, static_cast<size_t>(size)};
}

PemPair pem_pair(X509* certificate, EVP_PKEY* key) {
  const BioPtr first(BIO_new(BIO_s_mem()));
  const BioPtr second(BIO_new(BIO_s_mem()));
  require(first && second, "BIO_new");
  require(PEM_write_bio_X509(first.get(), certificate) == 1, "PEM_write_bio_X509");
  require(PEM_write_bio_PrivateKey(second.get(), key, nullptr, nullptr, 0, nullptr, nullptr) == 1,
          "PEM_write_bio_PrivateKey");
  return {pem_of(first.get()), pem_of(second.get())};
}

bool is_dns_name(const std::string& name) {
  return !name.empty() && name.size() <= kMaxDnsNameBytes && name.front() != '.' &&
         name.front() != '-' && std::all_of(name.begin(), name.end(), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                  c == '-' || c == '.' || c == '_';
         });
}

// An alternative name out of raw bytes: nothing of it is parsed as OpenSSL configuration.
void push_name(GENERAL_NAMES* names, int type, const void* data, int size) {
  GENERAL_NAME* name = GENERAL_NAME_new();
  ASN1_STRING* value =
      ASN1_STRING_type_new(type == GEN_DNS ? V_ASN1_IA5STRING : V_ASN1_OCTET_STRING);
  require(name != nullptr && value != nullptr, "GENERAL_NAME_new");
  require(ASN1_STRING_set(value, data, size) == 1, "ASN1_STRING_set");
  GENERAL_NAME_set0_value(name, type, value);
  require(sk_GENERAL_NAME_push(names, name) > 0, "sk_GENERAL_NAME_push");
}

Result<> add_alternative_names(X509* certificate, const std::vector<std::string>& names) {
  const NamesPtr list(GENERAL_NAMES_new());
  require(list != nullptr, "GENERAL_NAMES_new");
  for (const auto& name : names) {
    unsigned char address[16];
    if (::inet_pton(AF_INET, name.c_str(), address) == 1) {
      push_name(list.get(), GEN_IPADD, address, 4);
    } else if (::inet_pton(AF_INET6, name.c_str(), address) == 1) {
      push_name(list.get(), GEN_IPADD, address, 16);
    } else if (is_dns_name(name)) {
      push_name(list.get(), GEN_DNS, name.data(), static_cast<int>(name.size()));
    } else {
      return make_error(Errc::kInvalidArgument,
                        "'{}' is neither a DNS name nor an IP address: a certificate cannot be "
                        "made for it",
                        name);
    }
  }
  require(X509_add1_ext_i2d(certificate, NID_subject_alt_name, list.get(), 0, 0) == 1,
          "X509_add1_ext_i2d");
  return {};
}

std::string random_digits() {
  unsigned char raw[4];
  require(RAND_bytes(raw, sizeof(raw)) == 1, "RAND_bytes");
  return fmt::format("{:02x}{:02x}{:02x}{:02x}", raw[0], raw[1], raw[2], raw[3]);
}

// A file with a pass phrase must not make OpenSSL ask on the terminal.
int no_passphrase(char*, int, int, void*) {
  return -1;
}

BioPtr reader_of(std::string_view text) {
  BioPtr bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
  require(bio != nullptr, "BIO_new_mem_buf");
  return bio;
}

}  // namespace

CertificateAuthority CertificateAuthority::create(Validity validity) {
  KeyPtr key = new_key();
  auto certificate = blank_certificate(key.get(), "Godwit CA " + random_digits(), validity);
  X509* raw = certificate.get();
  require(X509_set_issuer_name(raw, X509_get_subject_name(raw)) == 1, "X509_set_issuer_name");
  add_extension(raw, raw, NID_basic_constraints, "critical,CA:TRUE,pathlen:0");
  add_extension(raw, raw, NID_key_usage, "critical,keyCertSign,cRLSign");
  add_extension(raw, raw, NID_subject_key_identifier, "hash");
  require(X509_sign(raw, key.get(), EVP_sha256()) > 0, "X509_sign");
  return {std::move(certificate), std::move(key)};
}

Result<CertificateAuthority> CertificateAuthority::load(std::string_view certificate_pem,
                                                        std::string_view key_pem,
                                                        const std::string& what) {
  CertificatePtr certificate(
      PEM_read_bio_X509(reader_of(certificate_pem).get(), nullptr, no_passphrase, nullptr));
  if (!certificate) {
    return make_error(Errc::kInvalidArgument, "{}: the certificate cannot be read: {}", what,
                      take_openssl_error().text);
  }
  KeyPtr key(PEM_read_bio_PrivateKey(reader_of(key_pem).get(), nullptr, no_passphrase, nullptr));
  if (!key) {
    return make_error(Errc::kInvalidArgument, "{}: the private key cannot be read: {}", what,
                      take_openssl_error().text);
  }
  if (X509_check_private_key(certificate.get(), key.get()) != 1) {
    static_cast<void>(take_openssl_error());
    return make_error(Errc::kInvalidArgument, "{}: the key does not belong to the certificate",
                      what);
  }
  if (X509_check_ca(certificate.get()) == 0) {
    return make_error(Errc::kInvalidArgument, "{}: this is no authority's certificate", what);
  }
  return CertificateAuthority(std::move(certificate), std::move(key));
}

Result<PemPair> CertificateAuthority::issue(const std::vector<std::string>& names,
                                            CertificateUse use, Validity validity) const {
  if (names.empty()) return make_error(Errc::kInvalidArgument, "a certificate needs a name");
  const KeyPtr key = new_key();
  const auto certificate = blank_certificate(key.get(), names.front(), validity);
  X509* raw = certificate.get();
  X509* issuer = certificate_.get();
  const ASN1_TIME* issuer_end = X509_get0_notAfter(issuer);
  if (ASN1_TIME_compare(X509_get0_notAfter(raw), issuer_end) > 0) {
    require(X509_set1_notAfter(raw, issuer_end) == 1, "X509_set1_notAfter");
  }
  require(X509_set_issuer_name(raw, X509_get_subject_name(issuer)) == 1, "X509_set_issuer_name");
  add_extension(raw, issuer, NID_basic_constraints, "critical,CA:FALSE");
  add_extension(raw, issuer, NID_key_usage, "critical,digitalSignature");
  add_extension(raw, issuer, NID_ext_key_usage,
                use == CertificateUse::kServer ? "serverAuth" : "clientAuth");
  add_extension(raw, issuer, NID_subject_key_identifier, "hash");
  add_extension(raw, issuer, NID_authority_key_identifier, "keyid");
  GODWIT_TRY(add_alternative_names(raw, names));
  require(X509_sign(raw, key_.get(), EVP_sha256()) > 0, "X509_sign");
  return pem_pair(raw, key.get());
}

PemPair CertificateAuthority::pem() const {
  return pem_pair(certificate_.get(), key_.get());
}

}  // namespace godwit::migration
