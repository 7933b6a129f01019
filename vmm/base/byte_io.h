// The one reader and the one writer of every wire and file format: explicit little-endian.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "vmm/base/error.h"

namespace godwit {

// Appends to a buffer that it owns. Reuse one object (clear()) to avoid allocations in a hot path.
class ByteWriter {
 public:
  void u8(uint8_t v) { little_endian(v); }
  void u16(uint16_t v) { little_endian(v); }
  void u32(uint32_t v) { little_endian(v); }
  void u64(uint64_t v) { little_endian(v); }
  void i64(int64_t v) { little_endian(static_cast<uint64_t>(v)); }
  void bytes(std::span<const std::byte> data);
  // u32 length, then the bytes.
  void blob(std::span<const std::byte> data);
  void string(std::string_view text);

  // Overwrites a u32 written earlier at `offset`.
  void patch_u32(size_t offset, uint32_t v);
  void patch_u64(size_t offset, uint64_t v);

  [[nodiscard]] size_t size() const { return buffer_.size(); }
  [[nodiscard]] std::span<const std::byte> view() const { return buffer_; }
  [[nodiscard]] std::vector<std::byte> take() { return std::move(buffer_); }
  void clear() { buffer_.clear(); }
  void reserve(size_t bytes) { buffer_.reserve(bytes); }

 private:
  template <class T>
  void little_endian(T v) {
    std::byte raw[sizeof(T)];
    for (size_t i = 0; i < sizeof(T); ++i) raw[i] = static_cast<std::byte>(v >> (8 * i));
    bytes(raw);
  }
  std::vector<std::byte> buffer_;
};

// Reads from bytes that somebody else controls. The first failure sticks: later reads return zero
// or empty, and finish() tells. So a decoder reads all its fields, then checks once; but a count
// that sizes a loop or an allocation goes through count(), which caps it.
class ByteReader {
 public:
  // `what` names the thing being decoded in errors; it must outlive the reader.
  ByteReader(std::span<const std::byte> data, std::string_view what) : data_(data), what_(what) {}

  uint8_t u8() { return little_endian<uint8_t>(); }
  uint16_t u16() { return little_endian<uint16_t>(); }
  uint32_t u32() { return little_endian<uint32_t>(); }
  uint64_t u64() { return little_endian<uint64_t>(); }
  int64_t i64() { return static_cast<int64_t>(little_endian<uint64_t>()); }
  // A u32 that must not exceed `limit`; zero after a failure.
  uint32_t count(uint32_t limit, std::string_view of_what);
  // `size` bytes, in place; empty after a failure.
  std::span<const std::byte> bytes(size_t size);
  // u32 length (at most `limit`), then the bytes; in place.
  std::span<const std::byte> blob(uint32_t limit, std::string_view of_what);
  std::string string(uint32_t limit, std::string_view of_what);

  [[nodiscard]] bool ok() const { return !failed_; }
  [[nodiscard]] size_t remaining() const { return failed_ ? 0 : data_.size() - position_; }
  [[nodiscard]] size_t position() const { return position_; }
  // Marks the bytes as bad for a reason that the decoder found; the first reason is kept.
  void fail(Error error);
  // Success when nothing failed so far.
  [[nodiscard]] Result<> status() const;
  // Success when nothing failed and nothing is left over.
  [[nodiscard]] Result<> finish();

 private:
  template <class T>
  T little_endian() {
    const auto raw = bytes(sizeof(T));
    if (raw.empty()) return 0;
    T v = 0;
    for (size_t i = 0; i < sizeof(T); ++i) v |= static_cast<T>(static_cast<T>(raw[i]) << (8 * i));
    return v;
  }
  std::span<const std::byte> data_;
  std::string_view what_;
  size_t position_ = 0;
  bool failed_ = false;
  Error error_;
};

}  // namespace godwit
