// OpenSSL's way to the socket: records are gathered into one large buffer before each send().
#pragma once
#include <array>
#include <optional>
#include <vector>

#include "migration/transport/openssl_util.h"
#include "migration/transport/stream_socket.h"

namespace godwit::migration {

// A full TLS 1.3 record: 2^14 bytes and header, content type and tag (RFC 8446 section 5.2).
inline constexpr size_t kTlsRecordPayload = 16384;
inline constexpr size_t kTlsRecordBytes = kTlsRecordPayload + 5 + 1 + 16;
inline constexpr size_t kTlsRecordsPerSend = 16;

// Whether a stream that begins with these bytes is a TLS handshake (a record of type handshake):
// what a plaintext server sees when a TLS client dials it. False for less than two bytes.
[[nodiscard]] bool looks_like_tls(std::span<const std::byte> first_bytes);

// The BIO blocks in the socket (which has the time-outs), so that OpenSSL never has to be retried;
// the socket's error is kept here, because a BIO can only say "failed". One thread at a time.
class TlsSocketBio {
 public:
  explicit TlsSocketBio(StreamSocket& socket);
  TlsSocketBio(const TlsSocketBio&) = delete;
  TlsSocketBio& operator=(const TlsSocketBio&) = delete;

  // A new reference for SSL_set_bio; this object outlives it.
  [[nodiscard]] BIO* bio();
  // Sends what is gathered.
  Result<> flush();
  // While set, reading does not wait: OpenSSL says SSL_ERROR_WANT_READ.
  void set_nonblocking(bool nonblocking) { nonblocking_ = nonblocking; }

  // The socket's first failure.
  [[nodiscard]] const std::optional<Error>& error() const { return error_; }
  [[nodiscard]] bool end_of_stream() const { return end_of_stream_; }
  // The peer sent something, and its first bytes are no TLS record's.
  [[nodiscard]] bool peer_speaks_plaintext() const;

 private:
  friend struct TlsSocketBioCallbacks;
  bool write(ConstBuffer bytes);
  Result<std::optional<size_t>> receive(const iovec& vector);
  // Bytes received; 0 at the end of the stream, after an error, or when it would block.
  size_t read(MutableBuffer bytes, bool& would_block);

  StreamSocket& socket_;
  BioPtr bio_;
  std::vector<std::byte> out_;
  size_t out_used_ = 0;
  bool nonblocking_ = false;
  bool end_of_stream_ = false;
  std::optional<Error> error_;
  std::array<std::byte, 2> first_{};
  size_t first_used_ = 0;
};

}  // namespace godwit::migration
