#include "migration/transport/tls_context.h"

#include <gmock/gmock.h>
#include <openssl/pem.h>

#include "tests/transport/tls_fixture.h"

namespace godwit::migration {
namespace {

using testing::AllOf;
using testing::HasSubstr;

class TlsContextTest : public TlsTest {
 protected:
  Error load_error(TlsRole role) const {
    const auto result = TlsContext::load(role, {directory_.path(), {}});
    EXPECT_FALSE(result);
    return result ? Error{} : result.error();
  }
};

TEST_F(TlsContextTest, EachMissingFileIsNamedWithTheRemedy) {
  for (const char* name : {kCaCertificateFile, kServerCertificateFile, kServerKeyFile}) {
    const auto text = file_text(directory_ / name);
    std::filesystem::remove(directory_ / name);
    const auto error = load_error(TlsRole::kServer);
    EXPECT_EQ(error.code, Errc::kNotFound);
    EXPECT_THAT(error.message, AllOf(HasSubstr((directory_ / name).string()),
                                     HasSubstr("godwit certs " + directory_.path().string())));
    write_text(directory_ / name, text);
  }
  EXPECT_TRUE(TlsContext::load(TlsRole::kServer, {directory_.path(), {}}));
}

TEST_F(TlsContextTest, AClientNeedsOnlyItsOwnFiles) {
  std::filesystem::remove(directory_ / kServerKeyFile);
  std::filesystem::remove(directory_ / kServerCertificateFile);
  EXPECT_TRUE(TlsContext::load(TlsRole::kClient, {directory_.path(), {}}));
}

TEST_F(TlsContextTest, AKeyThatOthersCanReadIsRefused) {
  for (const unsigned mode : {0640U, 0604U, 0666U}) {
    std::filesystem::permissions(directory_ / kClientKeyFile,
                                 static_cast<std::filesystem::perms>(mode));
    const auto error = load_error(TlsRole::kClient);
    EXPECT_EQ(error.code, Errc::kPermission);
    EXPECT_THAT(error.message, AllOf(HasSubstr("chmod 600"), HasSubstr(kClientKeyFile)));
  }
}

TEST_F(TlsContextTest, AKeyOfAnotherCertificateIsRefused) {
  write_text(directory_ / kServerKeyFile, file_text(directory_ / kClientKeyFile));
  const auto error = load_error(TlsRole::kServer);
  EXPECT_EQ(error.code, Errc::kInvalidArgument);
  EXPECT_THAT(error.message, AllOf(HasSubstr("does not belong to"), HasSubstr(kServerKeyFile),
                                   HasSubstr(kServerCertificateFile)));
}

TEST_F(TlsContextTest, OurOwnExpiredCertificateSaysWhen) {
  write_tls_files(directory_.path(), authority_, {"a"}, days_from_now(-5, -2));
  const auto error = load_error(TlsRole::kServer);
  EXPECT_EQ(error.code, Errc::kInvalidArgument);
  EXPECT_THAT(error.message, testing::ContainsRegex("expired on 20[0-9-]+ [0-9:]+ UTC"));
}

TEST_F(TlsContextTest, ACertificateOfTheFutureSaysFromWhen) {
  write_tls_files(directory_.path(), authority_, {"a"}, days_from_now(2, 5));
  EXPECT_THAT(load_error(TlsRole::kServer).message, HasSubstr("is valid only from"));
}

TEST_F(TlsContextTest, FilesOfAnythingElseAreRefused) {
  for (const char* name : {kCaCertificateFile, kServerCertificateFile, kServerKeyFile}) {
    const auto text = file_text(directory_ / name);
    for (const std::string& garbage : {std::string(), std::string("no PEM"), text.substr(0, 90)}) {
      write_text(directory_ / name, garbage);
      const auto error = load_error(TlsRole::kServer);
      EXPECT_EQ(error.code, Errc::kInvalidArgument) << error.message;
      EXPECT_THAT(error.message, HasSubstr(name));
    }
    write_text(directory_ / name, text);
  }
}

TEST_F(TlsContextTest, AnEncryptedKeyIsRefusedWithoutAsking) {
  const KeyPtr key(EVP_EC_gen("P-256"));
  const BioPtr bio(BIO_new(BIO_s_mem()));
  char phrase[] = "secret";
  ASSERT_EQ(PEM_write_bio_PrivateKey(bio.get(), key.get(), EVP_aes_256_cbc(),
                                     reinterpret_cast<unsigned char*>(phrase), 6, nullptr, nullptr),
            1);
  char* data = nullptr;
  const auto size = static_cast<size_t>(BIO_get_mem_data(bio.get(), &data));
  write_text(directory_ / kServerKeyFile, std::string(data, size));
  EXPECT_THAT(load_error(TlsRole::kServer).message, HasSubstr("without a pass phrase"));
}

}  // namespace
}  // namespace godwit::migration
