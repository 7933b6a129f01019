#include "migration/transport/openssl_util.h"

#include <arpa/inet.h>
#include <fmt/chrono.h>
#include <fmt/core.h>
#include <openssl/err.h>

#include <algorithm>
#include <ctime>

namespace godwit::migration {
namespace {

using NamesPtr = OpensslPtr<GENERAL_NAMES, GENERAL_NAMES_free>;

// Certificates of strangers are printed: no control characters, no endless names.
std::string printable(const unsigned char* data, int size) {
  constexpr int kMaxNameBytes = 255;
  std::string text(reinterpret_cast<const char*>(data),
                   static_cast<size_t>(std::clamp(size, 0, kMaxNameBytes)));
  std::replace_if(
      text.begin(), text.end(), [](char c) { return c < 0x20 || c > 0x7e; }, '?');
  return text;
}

std::string general_name_text(const GENERAL_NAME* name) {
  if (name->type == GEN_DNS) {
    return printable(ASN1_STRING_get0_data(name->d.dNSName), ASN1_STRING_length(name->d.dNSName));
  }
  if (name->type != GEN_IPADD) return {};
  const int size = ASN1_STRING_length(name->d.iPAddress);
  if (size != 4 && size != 16) return {};
  char text[INET6_ADDRSTRLEN] = {};
  ::inet_ntop(size == 4 ? AF_INET : AF_INET6, ASN1_STRING_get0_data(name->d.iPAddress), text,
              sizeof(text));
  return text;
}

}  // namespace

OpensslError take_openssl_error() {
  OpensslError result;
  while (const unsigned long code = ERR_get_error()) {
    const char* reason = ERR_reason_error_string(code);
    if (result.reason == 0) result.reason = ERR_GET_REASON(code);
    if (!result.text.empty()) result.text += "; ";
    result.text += reason != nullptr ? reason : fmt::format("OpenSSL error {:#x}", code);
  }
  if (result.text.empty()) result.text = "no reason given";
  return result;
}

std::string common_name(const X509_NAME* name) {
  const int index = X509_NAME_get_index_by_NID(name, NID_commonName, -1);
  if (index < 0) return {};
  const ASN1_STRING* value = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, index));
  return printable(ASN1_STRING_get0_data(value), ASN1_STRING_length(value));
}

std::vector<std::string> certificate_names(const X509* certificate) {
  std::vector<std::string> result;
  if (auto name = common_name(X509_get_subject_name(certificate)); !name.empty()) {
    result.push_back(std::move(name));
  }
  const NamesPtr names(static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)));
  for (int i = 0; names && i < sk_GENERAL_NAME_num(names.get()); ++i) {
    auto text = general_name_text(sk_GENERAL_NAME_value(names.get(), i));
    if (!text.empty() && std::find(result.begin(), result.end(), text) == result.end()) {
      result.push_back(std::move(text));
    }
  }
  return result;
}

std::string time_text(const ASN1_TIME* time) {
  std::tm parts{};
  if (ASN1_TIME_to_tm(time, &parts) != 1) return "an unreadable time";
  return fmt::format("{:%Y-%m-%d %H:%M:%S} UTC", parts);
}

}  // namespace godwit::migration
