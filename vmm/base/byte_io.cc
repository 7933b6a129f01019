#include "vmm/base/byte_io.h"

#include <limits>

#include "vmm/base/check.h"

namespace godwit {

void ByteWriter::bytes(std::span<const std::byte> data) {
  const size_t offset = buffer_.size();
  buffer_.resize(offset + data.size());
  if (!data.empty()) std::memcpy(buffer_.data() + offset, data.data(), data.size());
}

void ByteWriter::blob(std::span<const std::byte> data) {
  GODWIT_CHECK(data.size() <= std::numeric_limits<uint32_t>::max(), "blob over 4 GiB");
  u32(static_cast<uint32_t>(data.size()));
  bytes(data);
}

void ByteWriter::string(std::string_view text) {
  blob(std::as_bytes(std::span(text)));
}

void ByteWriter::patch_u32(size_t offset, uint32_t v) {
  GODWIT_CHECK(offset + 4 <= buffer_.size(), "patch outside what was written");
  for (size_t i = 0; i < 4; ++i) buffer_[offset + i] = static_cast<std::byte>(v >> (8 * i));
}

void ByteWriter::patch_u64(size_t offset, uint64_t v) {
  patch_u32(offset, static_cast<uint32_t>(v));
  patch_u32(offset + 4, static_cast<uint32_t>(v >> 32));
}

uint32_t ByteReader::count(uint32_t limit, std::string_view of_what) {
  const uint32_t n = u32();
  if (n <= limit) return n;
  fail(make_error(Errc::kCorrupt, "{}: {} is {}, more than the {} allowed", what_, of_what, n,
                  limit));
  return 0;
}

std::span<const std::byte> ByteReader::bytes(size_t size) {
  if (failed_) return {};
  if (size > data_.size() - position_) {
    fail(make_error(Errc::kCorrupt, "{}: ends at byte {}, {} more needed at offset {}", what_,
                    data_.size(), size, position_));
    return {};
  }
  const auto result = data_.subspan(position_, size);
  position_ += size;
  return result;
}

std::span<const std::byte> ByteReader::blob(uint32_t limit, std::string_view of_what) {
  return bytes(count(limit, of_what));
}

std::string ByteReader::string(uint32_t limit, std::string_view of_what) {
  const auto raw = blob(limit, of_what);
  return {reinterpret_cast<const char*>(raw.data()), raw.size()};
}

void ByteReader::fail(Error error) {
  if (failed_) return;
  failed_ = true;
  error_ = std::move(error);
}

Result<> ByteReader::status() const {
  if (failed_) return error_;
  return {};
}

Result<> ByteReader::finish() {
  if (!failed_ && position_ != data_.size()) {
    fail(make_error(Errc::kCorrupt, "{}: {} bytes left over after offset {}", what_,
                    data_.size() - position_, position_));
  }
  return status();
}

}  // namespace godwit
