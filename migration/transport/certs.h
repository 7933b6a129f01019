// The files that TLS needs, made on the spot: what `godwit certs DIR` does.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "vmm/base/error.h"

namespace godwit::migration {

// Names as QEMU, libvirt and Cloud Hypervisor have them, in one directory.
inline constexpr const char* kCaCertificateFile = "ca-cert.pem";
inline constexpr const char* kCaKeyFile = "ca-key.pem";
inline constexpr const char* kServerCertificateFile = "server-cert.pem";
inline constexpr const char* kServerKeyFile = "server-key.pem";
inline constexpr const char* kClientCertificateFile = "client-cert.pem";
inline constexpr const char* kClientKeyFile = "client-key.pem";

struct CertificateOptions {
  // The DNS names and IP addresses under which peers will dial this host; empty: local_names().
  std::vector<std::string> hosts;
  int days = 825;  // the host certificates' life, 1..kMaxDays
  // Where the authority's ca-cert.pem and ca-key.pem are; empty: the target directory itself. Its
  // key is never copied.
  std::filesystem::path ca_directory;
  bool overwrite = false;  // replaces the host's files; an existing authority is always kept
};
inline constexpr int kMaxDays = 36500;

struct MadeCertificates {
  std::vector<std::filesystem::path> files;  // in the order written
  std::vector<std::string> hosts;
  bool new_authority = false;
};

// Writes ca-cert.pem, server-*.pem and client-*.pem into `directory` (made with mode 0700 when
// missing; keys get 0600), and ca-key.pem when there was no authority. All files appear or, after
// an error, none that was not there before. Validity starts a day in the past: clocks differ.
// Errors: kAlreadyExists naming the file, kInvalidArgument, kNotFound, kPermission, kIo,
// kExhausted.
Result<MadeCertificates> make_certificates(const std::filesystem::path& directory,
                                           const CertificateOptions& options = {});

// This host's name, its fully qualified one if it has one, "localhost", the loopback addresses and
// those of its interfaces (without link-local ones, which mean nothing elsewhere).
std::vector<std::string> local_names();

}  // namespace godwit::migration
