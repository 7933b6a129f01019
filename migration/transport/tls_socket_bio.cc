#include "migration/transport/tls_socket_bio.h"

#include <cstring>
#include <stdexcept>

namespace godwit::migration {
namespace {
constexpr std::byte kAlertRecord{0x15};
constexpr std::byte kHandshakeRecord{0x16};
constexpr std::byte kMajorVersion{0x03};
}  // namespace

bool looks_like_tls(std::span<const std::byte> first_bytes) {
  return first_bytes.size() >= 2 && first_bytes[0] == kHandshakeRecord &&
         first_bytes[1] == kMajorVersion;
}

struct TlsSocketBioCallbacks {
  static TlsSocketBio& self(BIO* bio) { return *static_cast<TlsSocketBio*>(BIO_get_data(bio)); }

  static int write(BIO* bio, const char* data, size_t size, size_t* written) {
    BIO_clear_retry_flags(bio);
    *written = 0;
    if (!self(bio).write(std::as_bytes(std::span(data, size)))) return 0;
    *written = size;
    return 1;
  }

  static int read(BIO* bio, char* data, size_t size, size_t* got) {
    BIO_clear_retry_flags(bio);
    bool would_block = false;
    *got = self(bio).read(std::as_writable_bytes(std::span(data, size)), would_block);
    if (would_block) BIO_set_retry_read(bio);
    return *got > 0 ? 1 : 0;
  }

  static long control(BIO* bio, int command, long, void*) {
    switch (command) {
      case BIO_CTRL_FLUSH:
        return self(bio).flush() ? 1 : 0;
      case BIO_CTRL_EOF:
        return self(bio).end_of_stream() ? 1 : 0;
      default:
        return 0;
    }
  }

  static BIO_METHOD* method() {
    static BIO_METHOD* const made = [] {
      BIO_METHOD* m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "godwit socket");
      if (m == nullptr || BIO_meth_set_write_ex(m, &write) != 1 ||
          BIO_meth_set_read_ex(m, &read) != 1 || BIO_meth_set_ctrl(m, &control) != 1) {
        throw std::runtime_error("BIO_meth_new: " + take_openssl_error().text);
      }
      return m;
    }();
    return made;
  }
};

TlsSocketBio::TlsSocketBio(StreamSocket& socket)
    : socket_(socket),
      bio_(BIO_new(TlsSocketBioCallbacks::method())),
      out_(kTlsRecordsPerSend * kTlsRecordBytes) {
  if (!bio_) throw std::runtime_error("BIO_new: " + take_openssl_error().text);
  BIO_set_data(bio_.get(), this);
  BIO_set_init(bio_.get(), 1);
}

BIO* TlsSocketBio::bio() {
  BIO_up_ref(bio_.get());
  return bio_.get();
}

bool TlsSocketBio::write(ConstBuffer bytes) {
  while (!bytes.empty()) {
    const size_t count = std::min(bytes.size(), out_.size() - out_used_);
    std::memcpy(out_.data() + out_used_, bytes.data(), count);
    out_used_ += count;
    bytes = bytes.subspan(count);
    if (out_used_ == out_.size() && !flush()) return false;
  }
  return true;
}

Result<> TlsSocketBio::flush() {
  if (error_) return *error_;
  if (out_used_ == 0) return {};
  iovec vector{out_.data(), out_used_};
  out_used_ = 0;
  auto sent = socket_.write_all({&vector, 1});
  if (!sent) error_ = sent.error();
  return sent;
}

Result<std::optional<size_t>> TlsSocketBio::receive(const iovec& vector) {
  if (nonblocking_) return socket_.read_now({&vector, 1});
  GODWIT_ASSIGN(const size_t count, socket_.read_some({&vector, 1}));
  return std::optional(count);
}

size_t TlsSocketBio::read(MutableBuffer bytes, bool& would_block) {
  const iovec vector{bytes.data(), bytes.size()};
  const auto got = receive(vector);
  if (!got) {
    error_ = got.error();
    return 0;
  }
  const std::optional<size_t> count = *got;
  would_block = !count.has_value();
  if (!count) return 0;
  if (*count == 0) end_of_stream_ = true;
  for (size_t i = 0; i < *count && first_used_ < first_.size(); ++i)
    first_[first_used_++] = bytes[i];
  return *count;
}

bool TlsSocketBio::peer_speaks_plaintext() const {
  if (first_used_ == 0) return false;
  if (first_[0] != kHandshakeRecord && first_[0] != kAlertRecord) return true;
  return first_used_ > 1 && first_[1] != kMajorVersion;
}

}  // namespace godwit::migration
