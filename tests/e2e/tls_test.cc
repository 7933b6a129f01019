// Who may talk to whom: wrong certificates, wrong versions of TLS, no TLS at all.
#include <ctime>
#include <fstream>

#include "migration/transport/certificate_authority.h"
#include "migration/transport/certs.h"
#include "tests/e2e/fixture.h"

namespace godwit::e2e {
namespace {

using migration::CertificateAuthority;
using migration::CertificateUse;
using migration::Validity;
using testing::HasSubstr;

constexpr time_t kDay = 86400;

Validity days_from_now(int from, int until) {
  const time_t now = std::time(nullptr);
  return {now + from * kDay, now + until * kDay};
}

class Trust : public E2eTest {
 protected:
  // A directory for --tls-dir with what `authority` issues for `names`.
  Arguments issue(const std::string& directory, const CertificateAuthority& authority,
                  const std::vector<std::string>& names, Validity validity) {
    const std::filesystem::path path = dir_.path() / directory;
    std::filesystem::create_directories(path);
    const auto server = authority.issue(names, CertificateUse::kServer, validity).value();
    const auto client = authority.issue(names, CertificateUse::kClient, validity).value();
    write(path / migration::kCaCertificateFile, authority.pem().certificate);
    write(path / migration::kServerCertificateFile, server.certificate);
    write(path / migration::kServerKeyFile, server.key);
    write(path / migration::kClientCertificateFile, client.certificate);
    write(path / migration::kClientKeyFile, client.key);
    return {"--tls-dir", path.string()};
  }
  Arguments good(const std::string& directory) {
    return issue(directory, authority_, {"127.0.0.1"}, days_from_now(-1, 30));
  }
  static void write(const std::filesystem::path& path, const std::string& text) {
    std::ofstream(path, std::ios::binary) << text;
    std::filesystem::permissions(path, std::filesystem::perms(0600));
  }

  // The two do not come together, and the source says `reason`; the target goes on waiting, and
  // takes the guest from a source that it may take it from.
  void expect_refusal(const Arguments& at_source, const Arguments& at_target,
                      const std::string& reason, const Arguments& better) {
    const auto source = Guest::boot(a_, {});
    const auto target = receiver(b_, at_target);
    const Arguments limits{"--connect-timeout", "5s", "--io-timeout", "5s"};
    expect_stays(*source, migrate(*source, target->url(), at_source + limits), reason);
    EXPECT_EQ(target->state(), "receiving") << target->process().errors();
    expect_completed(migrate(*source, target->url(), better + Arguments{"--verify"}));
    EXPECT_EQ(source->exit_status(), kDone);
    target->expect_good_end();
  }

  CertificateAuthority authority_ = CertificateAuthority::create(days_from_now(-10, 100));
};

TEST_F(Trust, ASourceOfAnotherAuthorityIsRefused) {
  const auto other = CertificateAuthority::create(days_from_now(-10, 100));
  // It trusts the target; the target does not trust it.
  const Arguments stranger = issue("stranger", other, {"127.0.0.1"}, days_from_now(-1, 30));
  write(dir_.path() / "stranger" / migration::kCaCertificateFile, authority_.pem().certificate);
  expect_refusal(stranger, good("good"), "trusts another authority", good("good"));
}

TEST_F(Trust, ATargetOfAnotherAuthorityIsRefused) {
  const auto other = CertificateAuthority::create(days_from_now(-10, 100));
  const auto source = Guest::boot(a_, {});
  const auto target = receiver(b_, issue("stranger", other, {"127.0.0.1"}, days_from_now(-1, 30)));
  expect_stays(*source, migrate(*source, target->url(), good("good")), "ca-cert.pem");
  EXPECT_EQ(target->state(), "receiving");
}

TEST_F(Trust, ATargetWithACertificateForAnotherHostIsRefused) {
  const auto source = Guest::boot(a_, {});
  const auto target =
      receiver(b_, issue("elsewhere", authority_, {"host3"}, days_from_now(-1, 30)));
  const Move move = migrate(*source, target->url(), good("good"));
  expect_stays(*source, move, "127.0.0.1");
  EXPECT_THAT(move.reason(), HasSubstr("host3"));
  EXPECT_EQ(target->state(), "receiving");
}

TEST_F(Trust, ASourceSaysThatItsOwnCertificateHasExpired) {
  const auto source = Guest::boot(a_, {});
  const auto target = receiver(b_, good("good"));
  const Arguments old = issue("old", authority_, {"127.0.0.1"}, days_from_now(-5, -1));
  expect_stays(*source, migrate(*source, target->url(), old), "client-cert.pem expired on 20",
               kFailed);
}

TEST_F(Trust, ATargetSaysThatItsOwnCertificateHasExpired) {
  const Arguments old = issue("old", authority_, {"127.0.0.1"}, days_from_now(-5, -1));
  const CommandResult result =
      b_.godwit(Arguments{"receive", "--name", "guest", "--listen", kAnyPort} + old);
  EXPECT_EQ(result.status, kFailed);
  EXPECT_THAT(result.errors, HasSubstr("server-cert.pem expired on 20"));
  EXPECT_EQ(result.output, "");
}

TEST_F(Trust, AnUnencryptedSourceIsRefusedByAnEncryptedTarget) {
  expect_refusal(kPlain, good("good"), "may expect TLS", good("good"));
}

TEST_F(Trust, AnEncryptedSourceIsRefusedByAnUnencryptedTarget) {
  expect_refusal(good("good"), kPlain, "may expect plaintext", kPlain);
}

TEST_F(Trust, ASourceThatIsNotOnTheListIsRefused) {
  const Arguments listed =
      issue("listed", authority_, {"host1", "127.0.0.1"}, days_from_now(-1, 30));
  const Arguments other = issue("other", authority_, {"host7", "127.0.0.1"}, days_from_now(-1, 30));
  expect_refusal(other, listed + Arguments{"--tls-authz", "host1"},
                 "not among those that it admits", listed);
}

// --- peers of another make

class OtherTls : public Trust {
 protected:
  void SetUp() override {
    Trust::SetUp();
    if (IsSkipped()) return;
    const auto version = openssl({"version"});
    if (version->wait(kPatience) != 0) GTEST_SKIP() << "the openssl command is not installed";
  }
  std::unique_ptr<Child> openssl(const Arguments& arguments) {
    return std::make_unique<Child>(ChildOptions{.command = Arguments{"openssl"} + arguments,
                                                .output = a_.fresh_path("openssl.out"),
                                                .errors = a_.fresh_path("openssl.err"),
                                                .pipe_input = true});
  }
  // The files of a directory made by issue().
  Arguments server_files(const std::string& directory) const {
    const std::filesystem::path path = dir_.path() / directory;
    return {"-cert", path / migration::kServerCertificateFile, "-key",
            path / migration::kServerKeyFile};
  }
  Arguments client_files(const std::string& directory) const {
    const std::filesystem::path path = dir_.path() / directory;
    return {"-CAfile", path / migration::kCaCertificateFile,
            "-cert",   path / migration::kClientCertificateFile,
            "-key",    path / migration::kClientKeyFile};
  }
  std::unique_ptr<Child> client(const Guest& target, const Arguments& arguments) {
    const std::string address = target.url().substr(std::string("tcp://").size());
    return openssl(Arguments{"s_client", "-connect", address} + arguments);
  }

  // A guest is not sent to such a server, for `reason`.
  void expect_server_refused(const Arguments& arguments, const std::string& reason) {
    const Arguments security = good("good");
    const auto server = openssl(Arguments{"s_server", "-accept", "127.0.0.1:0"} + arguments);
    const std::string said = "ACCEPT ";
    std::string address;
    eventually([&] {
      const std::string text = server->output();
      const size_t begin = text.find(said);
      const size_t end = begin == std::string::npos ? begin : text.find('\n', begin);
      if (end != std::string::npos)
        address = text.substr(begin + said.size(), end - begin - said.size());
      return !address.empty() || !server->running();
    });
    ASSERT_NE(address, "") << server->errors();
    const auto source = Guest::boot(a_, {});
    expect_stays(*source, migrate(*source, "tcp://" + address, security), reason);
  }
  // Such a client is dropped, for `reason`; the right one is let in afterwards.
  void expect_client_refused(const Arguments& arguments, const std::string& input,
                             const std::string& reason) {
    const Arguments security = good("good");
    const auto target = receiver(b_, security);
    const auto stranger = client(*target, arguments);
    stranger->write(input);
    EXPECT_TRUE(stranger->wait(kPatience).has_value());
    EXPECT_EQ(target->state(), "receiving");
    EXPECT_THAT(target->process().errors(), HasSubstr(reason));
    const auto source = Guest::boot(a_, {});
    expect_completed(migrate(*source, target->url(), security + Arguments{"--verify"}));
    target->expect_good_end();
  }
};

TEST_F(OtherTls, ATargetThatSpeaksOnlyTls12IsRefused) {
  good("good");
  expect_server_refused(Arguments{"-tls1_2"} + server_files("good"), "TLS 1.3");
}

TEST_F(OtherTls, ATargetWithAnExpiredCertificateIsRefused) {
  issue("old", authority_, {"127.0.0.1"}, days_from_now(-5, -1));
  expect_server_refused(server_files("old"), "expired");
}

TEST_F(OtherTls, ASourceThatSpeaksOnlyTls12IsRefused) {
  good("good");
  expect_client_refused(Arguments{"-tls1_2"} + client_files("good"), "", "TLS 1.3");
}

TEST_F(OtherTls, ASourceWithAnExpiredCertificateIsRefused) {
  issue("old", authority_, {"127.0.0.1"}, days_from_now(-5, -1));
  expect_client_refused(client_files("old"), "", "expired");
}

TEST_F(OtherTls, ASourceWithoutACertificateIsRefused) {
  expect_client_refused({}, "", "certificate");
}

TEST_F(OtherTls, ASourceThatDoesNotSpeakTheProtocolIsDropped) {
  good("good");
  expect_client_refused(Arguments{"-quiet"} + client_files("good"),
                        "GET / HTTP/1.1\r\nHost: localhost\r\nAccept: everything\r\n\r\n",
                        "dropped a connection");
}

}  // namespace
}  // namespace godwit::e2e
