#include "migration/transport/certs.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <netdb.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <ctime>
#include <memory>
#include <optional>

#include "migration/transport/certificate_authority.h"
#include "migration/transport/safe_file.h"

namespace godwit::migration {
namespace {

namespace fs = std::filesystem;

constexpr time_t kDay = 24 * 60 * 60;
constexpr int kAuthorityDays = 3650;
constexpr mode_t kPrivate = 0600;
constexpr mode_t kPublic = 0644;
constexpr size_t kMaxNames = 100;

struct PlannedFile {
  fs::path path;
  std::string content;
  mode_t mode = kPublic;
  bool replace = false;
};

Validity validity_of(int days) {
  const time_t now = std::time(nullptr);
  return {now - kDay, now + days * kDay};
}

Result<> make_directory(const fs::path& directory) {
  std::error_code error;
  if (directory.has_parent_path()) fs::create_directories(directory.parent_path(), error);
  if (::mkdir(directory.c_str(), 0700) == 0) return {};
  if (errno == EEXIST && fs::is_directory(directory, error)) return {};
  return error_from_errno(errno, fmt::format("cannot make the directory {}", directory.string()));
}

// The authority in `directory`; no value when neither of its files is there.
Result<std::optional<CertificateAuthority>> find_authority(const fs::path& directory) {
  std::error_code ignored;
  const fs::path key_path = directory / kCaKeyFile;
  const fs::path certificate_path = directory / kCaCertificateFile;
  if (!fs::exists(key_path, ignored)) {
    if (!fs::exists(certificate_path, ignored)) return std::optional<CertificateAuthority>();
    return make_error(Errc::kNotFound,
                      "{} is here but not its key {}: make the certificates where the key is (or "
                      "name that directory with --ca) and copy them",
                      certificate_path.string(), key_path.string());
  }
  GODWIT_ASSIGN(const auto key, read_small_file(key_path));
  GODWIT_ASSIGN(const auto certificate, read_small_file(certificate_path));
  GODWIT_ASSIGN(auto authority,
                CertificateAuthority::load(certificate.content, key.content, directory.string()));
  return std::optional(std::move(authority));
}

Result<> plan_host_files(const CertificateAuthority& authority, const fs::path& directory,
                         const MadeCertificates& made, const CertificateOptions& options,
                         std::vector<PlannedFile>& plan) {
  const Validity validity = validity_of(options.days);
  GODWIT_ASSIGN(const auto server, authority.issue(made.hosts, CertificateUse::kServer, validity));
  GODWIT_ASSIGN(const auto client, authority.issue(made.hosts, CertificateUse::kClient, validity));
  const bool replace = options.overwrite;
  plan.push_back({directory / kServerKeyFile, server.key, kPrivate, replace});
  plan.push_back({directory / kServerCertificateFile, server.certificate, kPublic, replace});
  plan.push_back({directory / kClientKeyFile, client.key, kPrivate, replace});
  plan.push_back({directory / kClientCertificateFile, client.certificate, kPublic, replace});
  return {};
}

Result<> refuse_existing(const std::vector<PlannedFile>& plan) {
  for (const auto& file : plan) {
    std::error_code ignored;
    if (file.replace || !fs::exists(fs::symlink_status(file.path, ignored))) continue;
    return make_error(Errc::kAlreadyExists,
                      "{} exists: take another directory, or say --force to replace it",
                      file.path.string());
  }
  return {};
}

Result<> write_plan(const std::vector<PlannedFile>& plan, MadeCertificates& made) {
  for (const auto& file : plan) {
    const auto written = write_file_atomically(file.path, file.content, file.mode, file.replace);
    if (!written) {
      std::error_code ignored;
      for (size_t i = 0; i < made.files.size(); ++i) {
        if (!plan[i].replace) fs::remove(made.files[i], ignored);
      }
      return written;
    }
    made.files.push_back(file.path);
  }
  return {};
}

void add_name(std::vector<std::string>& names, std::string name) {
  if (name.empty() || names.size() >= kMaxNames) return;
  if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(std::move(name));
}

std::string qualified_name(const std::string& host) {
  addrinfo hints{};
  hints.ai_flags = AI_CANONNAME;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (::getaddrinfo(host.c_str(), nullptr, &hints, &found) != 0) return {};
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner(found, &::freeaddrinfo);
  return found->ai_canonname != nullptr ? found->ai_canonname : "";
}

std::string address_text(const sockaddr* address) {
  char text[INET6_ADDRSTRLEN] = {};
  if (address->sa_family == AF_INET) {
    const auto* v4 = reinterpret_cast<const sockaddr_in*>(address);
    ::inet_ntop(AF_INET, &v4->sin_addr, text, sizeof(text));
  } else if (address->sa_family == AF_INET6) {
    const auto* v6 = reinterpret_cast<const sockaddr_in6*>(address);
    if (!IN6_IS_ADDR_LINKLOCAL(&v6->sin6_addr)) {
      ::inet_ntop(AF_INET6, &v6->sin6_addr, text, sizeof(text));
    }
  }
  return text;
}

}  // namespace

std::vector<std::string> local_names() {
  std::vector<std::string> names;
  char host[HOST_NAME_MAX + 1] = {};
  if (::gethostname(host, sizeof(host) - 1) == 0) {
    add_name(names, host);
    add_name(names, qualified_name(host));
  }
  for (const char* name : {"localhost", "127.0.0.1", "::1"}) add_name(names, name);
  ifaddrs* list = nullptr;
  if (::getifaddrs(&list) != 0) return names;
  const std::unique_ptr<ifaddrs, decltype(&::freeifaddrs)> owner(list, &::freeifaddrs);
  for (const ifaddrs* entry = list; entry != nullptr; entry = entry->ifa_next) {
    if (entry->ifa_addr != nullptr) add_name(names, address_text(entry->ifa_addr));
  }
  return names;
}

Result<MadeCertificates> make_certificates(const fs::path& target,
                                           const CertificateOptions& options) {
  // "tls/" is the directory "tls", not something below it.
  const fs::path directory = target.has_filename() ? target : target.parent_path();
  if (options.days < 1 || options.days > kMaxDays) {
    return make_error(Errc::kInvalidArgument, "a certificate lives 1 to {} days, not {}", kMaxDays,
                      options.days);
  }
  MadeCertificates made{.hosts = options.hosts.empty() ? local_names() : options.hosts};
  const bool own = options.ca_directory.empty();
  GODWIT_ASSIGN(auto authority, find_authority(own ? directory : options.ca_directory));
  if (!authority && !own) {
    return make_error(Errc::kNotFound, "{} has no {}: make an authority there first",
                      options.ca_directory.string(), kCaKeyFile);
  }
  std::vector<PlannedFile> plan;
  if (!authority) {
    made.new_authority = true;
    authority = CertificateAuthority::create(validity_of(std::max(kAuthorityDays, options.days)));
    plan.push_back({directory / kCaKeyFile, authority->pem().key, kPrivate});
    plan.push_back({directory / kCaCertificateFile, authority->pem().certificate});
  } else if (!own) {
    plan.push_back(
        {directory / kCaCertificateFile, authority->pem().certificate, kPublic, options.overwrite});
  }
  GODWIT_TRY(plan_host_files(*authority, directory, made, options, plan));
  GODWIT_TRY(refuse_existing(plan));
  GODWIT_TRY(make_directory(directory));
  GODWIT_TRY(write_plan(plan, made));
  return made;
}

}  // namespace godwit::migration
