#include "migration/transport/tls_channel.h"

#include <openssl/err.h>

#include <cstring>

#include "migration/transport/deadline.h"
#include "migration/transport/tls_error.h"

namespace godwit::migration {
namespace {
constexpr std::string_view kHandshaking = "in the TLS handshake";
}

TlsChannel::TlsChannel(std::shared_ptr<StreamSocket> socket, const TlsContext& context,
                       std::string_view dialed_host)
    : socket_(std::move(socket)),
      bio_(std::make_unique<TlsSocketBio>(*socket_)),
      ssl_(context.new_connection()),
      check_(std::make_unique<TlsPeerCheck>(ssl_.get(), socket_->peer(), std::string(dialed_host),
                                            context.authorized())),
      description_(socket_->peer()),
      record_(kTlsRecordPayload) {
  SSL_set0_rbio(ssl_.get(), bio_->bio());
  SSL_set0_wbio(ssl_.get(), bio_->bio());
}

TlsChannel::~TlsChannel() {
  if (!established_ || failure_ || record_used_ > 0 || socket_->cancelled()) return;
  socket_->set_deadline(now());
  SSL_shutdown(ssl_.get());
  ERR_clear_error();
}

Result<std::unique_ptr<TlsChannel>> TlsChannel::handshake(std::shared_ptr<StreamSocket> socket,
                                                          const TlsContext& context,
                                                          std::string_view dialed_host,
                                                          TimePoint deadline) {
  std::unique_ptr<TlsChannel> channel(new TlsChannel(std::move(socket), context, dialed_host));
  GODWIT_TRY(channel->shake_hands(deadline));
  return channel;
}

Result<> TlsChannel::shake_hands(TimePoint deadline) {
  socket_->set_deadline(deadline);
  ERR_clear_error();
  const int result = SSL_do_handshake(ssl_.get());
  if (result != 1) return fail(result, kHandshaking);
  socket_->set_deadline(TimePoint::max());
  established_ = true;
  description_ =
      fmt::format("{} ({}, CN={})", socket_->peer(), SSL_get_cipher_name(ssl_.get()),
                  common_name(X509_get_subject_name(SSL_get0_peer_certificate(ssl_.get()))));
  return {};
}

Result<> TlsChannel::send(std::span<const ConstBuffer> buffers) {
  if (failure_) return *failure_;
  for (auto bytes : buffers) {
    while (!bytes.empty()) {
      if (record_used_ == 0 && bytes.size() >= record_.size()) {
        const size_t whole_records = bytes.size() - bytes.size() % record_.size();
        GODWIT_TRY(encrypt(bytes.first(whole_records)));
        bytes = bytes.subspan(whole_records);
        continue;
      }
      const size_t count = std::min(bytes.size(), record_.size() - record_used_);
      std::memcpy(record_.data() + record_used_, bytes.data(), count);
      record_used_ += count;
      bytes = bytes.subspan(count);
      if (record_used_ < record_.size()) continue;
      GODWIT_TRY(encrypt(record_));
      record_used_ = 0;
    }
  }
  return {};
}

Result<> TlsChannel::flush() {
  if (failure_) return *failure_;
  if (record_used_ > 0) GODWIT_TRY(encrypt(ConstBuffer(record_).first(record_used_)));
  record_used_ = 0;
  return bio_->flush() ? Result<>() : fail(-1, "sending");
}

Result<> TlsChannel::encrypt(ConstBuffer bytes) {
  GODWIT_TRY(update_key_when_due(bytes.size()));
  size_t written = 0;
  ERR_clear_error();
  const int result = SSL_write_ex(ssl_.get(), bytes.data(), bytes.size(), &written);
  return result == 1 ? Result<>() : fail(result, "sending");
}

Result<> TlsChannel::update_key_when_due(size_t bytes) {
  sent_with_key_ += bytes;
  if (sent_with_key_ < key_update_interval_) return {};
  sent_with_key_ = 0;
  const int result = SSL_key_update(ssl_.get(), SSL_KEY_UPDATE_NOT_REQUESTED);
  return result == 1 ? Result<>() : fail(result, "sending");
}

Result<> TlsChannel::receive(std::span<const MutableBuffer> buffers) {
  if (failure_) return *failure_;
  ERR_clear_error();
  for (auto bytes : buffers) {
    while (!bytes.empty()) {
      size_t count = 0;
      const int result = SSL_read_ex(ssl_.get(), bytes.data(), bytes.size(), &count);
      if (result != 1) return fail(result, "receiving");
      bytes = bytes.subspan(count);
    }
  }
  return {};
}

Result<bool> TlsChannel::wait_readable(Nanoseconds limit) {
  if (failure_) return *failure_;
  if (SSL_pending(ssl_.get()) > 0) return true;
  const TimePoint deadline = deadline_after(limit);
  while (true) {
    std::byte byte;
    size_t count = 0;
    ERR_clear_error();
    bio_->set_nonblocking(true);
    const int result = SSL_peek_ex(ssl_.get(), &byte, 1, &count);
    bio_->set_nonblocking(false);
    if (result == 1) return true;
    if (SSL_get_error(ssl_.get(), result) != SSL_ERROR_WANT_READ) {
      const Error error = fail(result, "receiving");
      if (error.code == Errc::kCancelled) return error;
      return true;  // the end of the stream: receive() tells
    }
    GODWIT_ASSIGN(const bool ready, socket_->wait_readable(time_left(deadline)));
    if (!ready) return false;
  }
}

Error TlsChannel::fail(int result, std::string_view doing) {
  failure_ = explain(result, doing);
  return *failure_;
}

Error TlsChannel::explain(int result, std::string_view doing) {
  const int kind = SSL_get_error(ssl_.get(), result);
  const OpensslError error = take_openssl_error();
  const std::string& peer = socket_->peer();
  if (check_->refusal()) return *check_->refusal();
  if (socket_->cancelled() && bio_->error()) return *bio_->error();
  if (!established_ && bio_->peer_speaks_plaintext()) {
    return make_error(Errc::kProtocol,
                      "{} speaks plaintext, this side TLS: give --tls-dir on both sides, or "
                      "--plaintext on both",
                      peer);
  }
  if (bio_->error()) {
    if (!established_ && bio_->error()->code == Errc::kTimeout) {
      return make_error(Errc::kTimeout, "{} did not finish the TLS handshake in time", peer);
    }
    if (bio_->error()->code != Errc::kIo) return *bio_->error();
    if (!established_) return explain_lost_stream(doing);
    return waiting_alert().value_or(*bio_->error());
  }
  if (kind == SSL_ERROR_ZERO_RETURN) return socket_->closed_by_peer(doing);
  if (bio_->end_of_stream()) return explain_lost_stream(doing);
  return describe_tls_error(error, peer, doing, established_ ? Errc::kIo : Errc::kProtocol);
}

Error TlsChannel::explain_lost_stream(std::string_view doing) const {
  if (established_) {
    return make_error(Errc::kIo,
                      "connection to {} broke off while {}: its end of the stream is not the "
                      "peer's own (no TLS close_notify)",
                      socket_->peer(), doing);
  }
  return make_error(Errc::kProtocol,
                    "{} closed the connection {}: it may expect plaintext, or have refused this "
                    "side; its log says more",
                    socket_->peer(), doing);
}

std::optional<Error> TlsChannel::waiting_alert() {
  std::byte byte;
  size_t count = 0;
  bio_->set_nonblocking(true);
  SSL_peek_ex(ssl_.get(), &byte, 1, &count);
  bio_->set_nonblocking(false);
  const OpensslError error = take_openssl_error();
  if (!is_peer_alert(error)) return {};
  return describe_tls_error(error, socket_->peer(), "sending", Errc::kIo);
}

}  // namespace godwit::migration
