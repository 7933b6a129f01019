#include <gmock/gmock.h>

#include <functional>

#include "tests/transport/tls_fixture.h"

namespace godwit::migration {
namespace {

using testing::AllOf;
using testing::HasSubstr;

class TlsHandshake : public TlsTest {
 protected:
  // What the client learns at the latest from its first receive: in TLS 1.3 it is done before the
  // server has checked it.
  static Error clients_error(TlsOutcome& outcome) {
    if (!outcome.client) return outcome.client.error();
    std::byte byte;
    const auto received = (*outcome.client)->receive(MutableBuffer(&byte, 1));
    EXPECT_FALSE(received);
    return received ? Error{} : received.error();
  }
  TlsOutcome dial(const std::string& host) const {
    return shake_hands(*context(TlsRole::kClient), *context(TlsRole::kServer), host, tcp_pair());
  }
  TlsOutcome with_authorized(std::vector<std::string> patterns) const {
    return shake_hands(*context(TlsRole::kClient), *context(TlsRole::kServer, std::move(patterns)),
                       "host2", tcp_pair());
  }
};

TEST_F(TlsHandshake, EveryNameOfTheCertificateMayBeDialed) {
  for (const std::string host : {"host2", "HOST2", "127.0.0.1", "::1", "::1%lo", ""}) {
    const auto outcome = dial(host);
    EXPECT_TRUE(outcome.client) << host << ": " << outcome.client.error().message;
    EXPECT_TRUE(outcome.server) << host;
  }
}

TEST_F(TlsHandshake, AWrongHostIsNamedBesideTheRightOnes) {
  for (const std::string host : {"host3", "10.9.9.9", "fd00::9", "sub.host2"}) {
    const auto outcome = dial(host);
    ASSERT_FALSE(outcome.client) << host;
    EXPECT_EQ(outcome.client.error().code, Errc::kPermission);
    EXPECT_THAT(outcome.client.error().message,
                AllOf(HasSubstr("is for host2, 127.0.0.1, ::1, not for " + host)));
    EXPECT_FALSE(outcome.server);
  }
}

TEST_F(TlsHandshake, AServerOfAnotherAuthorityIsRefused) {
  const TemporaryDirectory other;
  write_tls_files(other.path(), CertificateAuthority::create(days_from_now(-1, 10)), {"host2"});
  auto outcome = shake_hands(*context(TlsRole::kClient),
                             *context_in(other.path(), TlsRole::kServer), "host2", tcp_pair());
  ASSERT_FALSE(outcome.client);
  EXPECT_EQ(outcome.client.error().code, Errc::kPermission);
  EXPECT_THAT(outcome.client.error().message,
              AllOf(HasSubstr("signed by 'Godwit CA "), HasSubstr("another authority")));
  ASSERT_FALSE(outcome.server);
  EXPECT_THAT(outcome.server.error().message, HasSubstr("trusts another authority"));
}

TEST_F(TlsHandshake, AClientOfAnotherAuthorityIsRefusedAndLearnsWhy) {
  const TemporaryDirectory other;
  write_tls_files(other.path(), CertificateAuthority::create(days_from_now(-1, 10)), {"evil"});
  write_text(other / kCaCertificateFile, authority_.pem().certificate);
  auto outcome = shake_hands(*context_in(other.path(), TlsRole::kClient),
                             *context(TlsRole::kServer), "host2", tcp_pair());
  ASSERT_FALSE(outcome.server);
  EXPECT_EQ(outcome.server.error().code, Errc::kPermission);
  EXPECT_THAT(outcome.server.error().message, AllOf(HasSubstr("evil"), HasSubstr("another")));
  const auto error = clients_error(outcome);
  EXPECT_EQ(error.code, Errc::kPermission);
  EXPECT_THAT(error.message, HasSubstr("refused this side: it trusts another authority"));
}

TEST_F(TlsHandshake, ARefusedClientThatSendsLearnsWhy) {
  auto outcome = with_authorized({"nobody"});
  ASSERT_FALSE(outcome.server);
  ASSERT_TRUE(outcome.client);
  const std::vector<std::byte> data(1 << 20);
  Result<> sent;
  for (int i = 0; i < 64 && sent; ++i) sent = (*outcome.client)->send(data);
  ASSERT_FALSE(sent);
  EXPECT_EQ(sent.error().code, Errc::kPermission) << sent.error().message;
}

TEST_F(TlsHandshake, AnExpiredServerCertificateSaysWhen) {
  // Loading refuses it, so the server swears by a certificate that ends in a moment.
  const TemporaryDirectory other;
  const time_t end = std::time(nullptr) + 4;
  write_tls_files(other.path(), authority_, {"host2"}, {end - 10, end});
  const auto server = context_in(other.path(), TlsRole::kServer);
  while (std::time(nullptr) <= end) std::this_thread::sleep_for(std::chrono::milliseconds(50));
  auto outcome = shake_hands(*context(TlsRole::kClient), *server, "host2", tcp_pair());
  ASSERT_FALSE(outcome.client);
  EXPECT_EQ(outcome.client.error().code, Errc::kPermission);
  EXPECT_THAT(outcome.client.error().message, testing::ContainsRegex("expired on 20[0-9-]+"));
  ASSERT_FALSE(outcome.server);
  EXPECT_THAT(outcome.server.error().message, HasSubstr("has expired"));
}

TEST_F(TlsHandshake, AuthorizedPatternsMatchNamesAndAddresses) {
  for (const std::vector<std::string>& patterns :
       {std::vector<std::string>{"host2"}, {"host*"}, {"nobody", "h?st[0-9]"}, {"127.0.0.*"}}) {
    const auto outcome = with_authorized(patterns);
    EXPECT_TRUE(outcome.server) << outcome.server.error().message;
  }
}

TEST_F(TlsHandshake, AClientThatNoPatternAdmitsIsRefused) {
  for (const std::vector<std::string>& patterns :
       {std::vector<std::string>{"host3"}, {"ost2"}, {"", "host"}, {"10.*"}}) {
    auto outcome = with_authorized(patterns);
    ASSERT_FALSE(outcome.server);
    EXPECT_EQ(outcome.server.error().code, Errc::kPermission);
    EXPECT_THAT(
        outcome.server.error().message,
        AllOf(HasSubstr("is for host2"), HasSubstr("--tls-authz"), HasSubstr(patterns.back())));
    EXPECT_EQ(clients_error(outcome).code, Errc::kPermission);
  }
}

// A peer made of bare OpenSSL, which may be as old and careless as it likes.
class BarePeer {
 public:
  BarePeer(TlsRole role, int version, const std::filesystem::path& directory, bool certificate)
      : context_(SSL_CTX_new(TLS_method())), role_(role) {
    SSL_CTX_set_min_proto_version(context_.get(), TLS1_VERSION);
    SSL_CTX_set_max_proto_version(context_.get(), version);
    if (!certificate) return;
    const bool server = role == TlsRole::kServer;
    const auto names = server ? std::pair(kServerCertificateFile, kServerKeyFile)
                              : std::pair(kClientCertificateFile, kClientKeyFile);
    SSL_CTX_use_certificate_chain_file(context_.get(), (directory / names.first).c_str());
    SSL_CTX_use_PrivateKey_file(context_.get(), (directory / names.second).c_str(),
                                SSL_FILETYPE_PEM);
  }
  // Handshakes on `socket`, then hangs up.
  void run(StreamSocket& socket) {
    const SslPtr ssl(SSL_new(context_.get()));
    TlsSocketBio bio(socket);
    SSL_set0_rbio(ssl.get(), bio.bio());
    SSL_set0_wbio(ssl.get(), bio.bio());
    if (role_ == TlsRole::kServer) {
      SSL_accept(ssl.get());
    } else {
      SSL_connect(ssl.get());
    }
    take_openssl_error();
  }

 private:
  SslContextPtr context_;
  TlsRole role_;
};

Result<std::unique_ptr<TlsChannel>> handshake_with(SocketPair sockets, const TlsContext& ours,
                                                   const std::function<void(StreamSocket&)>& peer) {
  std::thread other([&] { peer(*sockets.second); });
  auto result = TlsChannel::handshake(std::move(sockets.first), ours, "",
                                      deadline_after(std::chrono::seconds(10)));
  other.join();
  return result;
}

TEST_F(TlsHandshake, AnOldClientIsRefused) {
  BarePeer peer(TlsRole::kClient, TLS1_2_VERSION, directory_.path(), true);
  const auto result = handshake_with(tcp_pair(), *context(TlsRole::kServer),
                                     [&](StreamSocket& socket) { peer.run(socket); });
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, Errc::kIncompatible);
  EXPECT_THAT(result.error().message, HasSubstr("does not speak TLS 1.3"));
}

TEST_F(TlsHandshake, AnOldServerIsRefused) {
  BarePeer peer(TlsRole::kServer, TLS1_2_VERSION, directory_.path(), true);
  const auto result = handshake_with(tcp_pair(), *context(TlsRole::kClient),
                                     [&](StreamSocket& socket) { peer.run(socket); });
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, Errc::kIncompatible);
}

TEST_F(TlsHandshake, AClientWithoutACertificateIsRefused) {
  BarePeer peer(TlsRole::kClient, TLS1_3_VERSION, directory_.path(), false);
  const auto result = handshake_with(tcp_pair(), *context(TlsRole::kServer),
                                     [&](StreamSocket& socket) { peer.run(socket); });
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, Errc::kPermission);
  EXPECT_THAT(result.error().message, HasSubstr("sent no certificate"));
}

TEST_F(TlsHandshake, APeerThatSpeaksPlaintextIsNamed) {
  for (const TlsRole role : {TlsRole::kServer, TlsRole::kClient}) {
    for (const std::string text : {"GODWIT01", "GET / HTTP/1.1\r\n\r\n", "G", "\x16G"}) {
      const auto result = handshake_with(tcp_pair(), *context(role), [&text](StreamSocket& socket) {
        iovec out{const_cast<char*>(text.data()), text.size()};
        ASSERT_TRUE(socket.write_all({&out, 1}));
        socket.shutdown();
      });
      ASSERT_FALSE(result);
      EXPECT_EQ(result.error().code, Errc::kProtocol) << text << result.error().message;
      EXPECT_THAT(result.error().message, HasSubstr("speaks plaintext"));
    }
  }
}

TEST_F(TlsHandshake, APlaintextServerThatHangsUpIsSuspected) {
  const auto result =
      handshake_with(tcp_pair(), *context(TlsRole::kClient), [](StreamSocket& socket) {
        std::array<std::byte, 8> first{};
        const iovec into{first.data(), first.size()};
        ASSERT_TRUE(socket.read_some({&into, 1}));
        EXPECT_TRUE(looks_like_tls(first));
        socket.shutdown();
      });
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, Errc::kProtocol);
  EXPECT_THAT(result.error().message, HasSubstr("it may expect plaintext"));
}

TEST_F(TlsHandshake, ASilentPeerIsATimeout) {
  auto sockets = tcp_pair();
  const auto result = TlsChannel::handshake(std::move(sockets.first), *context(TlsRole::kServer),
                                            "", deadline_after(std::chrono::milliseconds(30)));
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, Errc::kTimeout) << result.error().message;
}

TEST(LooksLikeTls, OnlyAHandshakeRecordDoes) {
  const auto looks = [](std::initializer_list<int> raw) {
    std::vector<std::byte> bytes;
    for (const int each : raw) bytes.push_back(static_cast<std::byte>(each));
    return looks_like_tls(bytes);
  };
  EXPECT_TRUE(looks({0x16, 0x03, 0x01}));
  EXPECT_TRUE(looks({0x16, 0x03}));
  EXPECT_FALSE(looks({0x16}));
  EXPECT_FALSE(looks({}));
  EXPECT_FALSE(looks({0x15, 0x03}));
  EXPECT_FALSE(looks({'G', 'W'}));
}

}  // namespace
}  // namespace godwit::migration
