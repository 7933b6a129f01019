// The quantities that cross interfaces, each with a type of its own.
#pragma once
#include <compare>
#include <cstddef>
#include <cstdint>

namespace godwit {

inline constexpr uint64_t kPageShift = 12;
inline constexpr uint64_t kPageSize = uint64_t{1} << kPageShift;  // what dirty logs count in

// A count of bytes.
struct ByteCount {
  uint64_t value = 0;
  auto operator<=>(const ByteCount&) const = default;
  [[nodiscard]] constexpr uint64_t pages() const { return (value + kPageSize - 1) >> kPageShift; }
};
constexpr ByteCount operator+(ByteCount a, ByteCount b) {
  return {a.value + b.value};
}
constexpr ByteCount operator-(ByteCount a, ByteCount b) {
  return {a.value - b.value};
}

// A guest-physical address: what the guest and KVM use. Has the hole under 4 GiB.
struct Gpa {
  uint64_t value = 0;
  auto operator<=>(const Gpa&) const = default;
};
constexpr Gpa operator+(Gpa a, uint64_t bytes) {
  return {a.value + bytes};
}

// The dense number of a 4 KiB page of guest RAM, without the hole: bitmaps and the wire use it.
struct PageIndex {
  uint64_t value = 0;
  auto operator<=>(const PageIndex&) const = default;
};

inline namespace literals {
constexpr ByteCount operator""_KiB(unsigned long long n) {
  return {n << 10};
}
constexpr ByteCount operator""_MiB(unsigned long long n) {
  return {n << 20};
}
constexpr ByteCount operator""_GiB(unsigned long long n) {
  return {n << 30};
}
}  // namespace literals

}  // namespace godwit
