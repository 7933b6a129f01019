#include "migration/transport/certs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/pem.h>
#include <sys/stat.h>
#include <unistd.h>

#include <ctime>

#include "migration/transport/openssl_util.h"
#include "tests/transport/temporary_directory.h"

namespace godwit::migration {
namespace {

using testing::Contains;
using testing::HasSubstr;

CertificatePtr certificate_in(const std::filesystem::path& path) {
  const std::string text = file_text(path);
  const BioPtr bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
  return CertificatePtr(PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr));
}

mode_t mode_of(const std::filesystem::path& path) {
  struct stat status {};
  EXPECT_EQ(::stat(path.c_str(), &status), 0) << path;
  return status.st_mode & 0777;
}

bool signed_by(const std::filesystem::path& certificate, const std::filesystem::path& authority) {
  const auto issuer = certificate_in(authority);
  return X509_verify(certificate_in(certificate).get(), X509_get0_pubkey(issuer.get())) == 1;
}

TEST(Certificates, MakesAllFilesWithTheirModes) {
  const TemporaryDirectory base;
  const auto made = make_certificates(base / "tls/", {.hosts = {"host2", "10.0.0.2", "fd00::2"}});
  ASSERT_TRUE(made) << made.error().message;
  EXPECT_TRUE(made->new_authority);
  EXPECT_EQ(made->files.size(), 6U);
  EXPECT_EQ(mode_of(base / "tls"), 0700U);
  for (const char* key : {kCaKeyFile, kServerKeyFile, kClientKeyFile}) {
    EXPECT_EQ(mode_of(base / "tls" / key), 0600U) << key;
  }
  for (const char* name : {kServerCertificateFile, kClientCertificateFile}) {
    EXPECT_TRUE(signed_by(base / "tls" / name, base / "tls" / kCaCertificateFile)) << name;
    EXPECT_THAT(certificate_names(certificate_in(base / "tls" / name).get()),
                testing::ElementsAre("host2", "10.0.0.2", "fd00::2"));
  }
  const auto entries = std::filesystem::directory_iterator(base / "tls");
  EXPECT_EQ(std::distance(begin(entries), end(entries)), 6) << "nothing is left aside";
}

TEST(Certificates, ValidityStartsInThePast) {
  const TemporaryDirectory base;
  ASSERT_TRUE(make_certificates(base.path(), {.hosts = {"a"}, .days = 10}));
  const auto certificate = certificate_in(base / kServerCertificateFile);
  time_t an_hour_ago = std::time(nullptr) - 3600;
  time_t in_nine_days = std::time(nullptr) + 9 * 86400;
  time_t in_eleven_days = std::time(nullptr) + 11 * 86400;
  EXPECT_EQ(X509_cmp_time(X509_get0_notBefore(certificate.get()), &an_hour_ago), -1);
  EXPECT_EQ(X509_cmp_time(X509_get0_notAfter(certificate.get()), &in_nine_days), 1);
  EXPECT_EQ(X509_cmp_time(X509_get0_notAfter(certificate.get()), &in_eleven_days), -1);
}

TEST(Certificates, NothingIsOverwrittenUnasked) {
  const TemporaryDirectory base;
  ASSERT_TRUE(make_certificates(base.path(), {.hosts = {"a"}}));
  const auto key = file_text(base / kServerKeyFile);
  const auto again = make_certificates(base.path(), {.hosts = {"b"}});
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, Errc::kAlreadyExists);
  EXPECT_THAT(again.error().message, HasSubstr((base / kServerKeyFile).string()));
  EXPECT_EQ(file_text(base / kServerKeyFile), key);
}

TEST(Certificates, OverwriteReplacesTheHostsFilesButNotTheAuthority) {
  const TemporaryDirectory base;
  ASSERT_TRUE(make_certificates(base.path(), {.hosts = {"a"}}));
  const auto authority = file_text(base / kCaCertificateFile);
  const auto key = file_text(base / kServerKeyFile);
  const auto again = make_certificates(base.path(), {.hosts = {"b"}, .overwrite = true});
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_FALSE(again->new_authority);
  EXPECT_EQ(file_text(base / kCaCertificateFile), authority);
  EXPECT_NE(file_text(base / kServerKeyFile), key);
}

TEST(Certificates, AFailureLeavesNoFilesBehind) {
  const TemporaryDirectory base;
  write_text(base / kClientKeyFile, "mine");
  const auto made = make_certificates(base.path(), {.hosts = {"a"}});
  ASSERT_FALSE(made);
  EXPECT_THAT(made.error().message, HasSubstr(kClientKeyFile));
  EXPECT_FALSE(std::filesystem::exists(base / kCaKeyFile));
  EXPECT_EQ(file_text(base / kClientKeyFile), "mine");
}

TEST(Certificates, SeveralHostsShareAnAuthority) {
  const TemporaryDirectory base;
  ASSERT_TRUE(make_certificates(base / "one", {.hosts = {"one"}}));
  const auto two =
      make_certificates(base / "two", {.hosts = {"two"}, .ca_directory = base / "one"});
  ASSERT_TRUE(two) << two.error().message;
  EXPECT_FALSE(two->new_authority);
  EXPECT_TRUE(signed_by(base / "two" / kServerCertificateFile, base / "one" / kCaCertificateFile));
  EXPECT_EQ(file_text(base / "two" / kCaCertificateFile),
            file_text(base / "one" / kCaCertificateFile));
  EXPECT_FALSE(std::filesystem::exists(base / "two" / kCaKeyFile)) << "the CA's key stays home";
}

TEST(Certificates, AnAuthorityWithoutItsKeyIsRefused) {
  const TemporaryDirectory base;
  ASSERT_TRUE(make_certificates(base.path(), {.hosts = {"a"}}));
  std::filesystem::remove(base / kCaKeyFile);
  const auto made = make_certificates(base.path(), {.hosts = {"a"}, .overwrite = true});
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().code, Errc::kNotFound);
  EXPECT_THAT(made.error().message, HasSubstr(kCaKeyFile));
}

TEST(Certificates, AForeignAuthorityKeyIsRefused) {
  const TemporaryDirectory base;
  ASSERT_TRUE(make_certificates(base / "one", {.hosts = {"a"}}));
  ASSERT_TRUE(make_certificates(base / "two", {.hosts = {"a"}}));
  std::filesystem::copy_file(base / "two" / kCaKeyFile, base / "one" / kCaKeyFile,
                             std::filesystem::copy_options::overwrite_existing);
  const auto made = make_certificates(base / "one", {.hosts = {"a"}, .overwrite = true});
  ASSERT_FALSE(made);
  EXPECT_THAT(made.error().message, HasSubstr("does not belong"));
}

TEST(Certificates, NoAuthorityWhereOneIsNamed) {
  const TemporaryDirectory base;
  const auto made = make_certificates(base / "x", {.hosts = {"a"}, .ca_directory = base / "none"});
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().code, Errc::kNotFound);
  EXPECT_FALSE(std::filesystem::exists(base / "x"));
}

TEST(Certificates, SenselessOptionsAreRefused) {
  const TemporaryDirectory base;
  for (const int days : {0, -1, kMaxDays + 1}) {
    EXPECT_EQ(make_certificates(base / "x", {.hosts = {"a"}, .days = days}).error().code,
              Errc::kInvalidArgument);
  }
  for (const std::string host : {"", "a b", "a,DNS:evil", "*", "-x", "10.0.0.2/8"}) {
    const auto made = make_certificates(base / "x", {.hosts = {"good", host}});
    ASSERT_FALSE(made) << host;
    EXPECT_EQ(made.error().code, Errc::kInvalidArgument);
    EXPECT_THAT(made.error().message, HasSubstr("'" + host + "'"));
  }
  EXPECT_FALSE(std::filesystem::exists(base / "x"));
}

TEST(Certificates, DefaultNamesCoverLoopbackAndThisHost) {
  const auto names = local_names();
  EXPECT_THAT(names, Contains("localhost"));
  EXPECT_THAT(names, Contains("127.0.0.1"));
  EXPECT_THAT(names, Contains("::1"));
  char host[256] = {};
  ASSERT_EQ(::gethostname(host, sizeof(host) - 1), 0);
  EXPECT_THAT(names, Contains(std::string(host)));
  const TemporaryDirectory base;
  const auto made = make_certificates(base.path());
  ASSERT_TRUE(made) << made.error().message;
  EXPECT_EQ(made->hosts, names);
}

TEST(Certificates, ALongNameIsCutInTheSubjectOnly) {
  const TemporaryDirectory base;
  const std::string name = std::string(60, 'a') + "." + std::string(40, 'b') + ".example";
  ASSERT_TRUE(make_certificates(base.path(), {.hosts = {name}}));
  EXPECT_THAT(certificate_names(certificate_in(base / kServerCertificateFile).get()),
              Contains(name));
}

TEST(Certificates, AFullOrForbiddenDirectoryIsNamed) {
  const auto made = make_certificates("/proc/godwit", {.hosts = {"a"}});
  ASSERT_FALSE(made);
  EXPECT_THAT(made.error().message, HasSubstr("/proc/godwit"));
}

}  // namespace
}  // namespace godwit::migration
