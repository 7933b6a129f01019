// The memory of one request, walked from front to back.
#pragma once
#include <sys/uio.h>

#include <cstddef>
#include <span>
#include <vector>

namespace godwit::devices {

// Keeps its storage from one request to the next.
class IoVector {
 public:
  struct Position {
    size_t index = 0;   // of the part
    size_t offset = 0;  // inside of it, below its length
  };

  // Copies the array; empty parts vanish and neighbours that touch become one.
  void assign(std::span<const iovec> parts);
  // Moves `at` on by `bytes`, at most to the end.
  void advance(Position& at, size_t bytes) const;
  // The parts from `at` on; valid until the next call.
  std::span<const iovec> from(Position at);
  // What lies behind `at` in one piece; empty at the end.
  [[nodiscard]] std::span<std::byte> piece(Position at) const;
  // Copies to or from `at`; there must be that much.
  void gather(Position at, std::span<std::byte> to) const;
  void scatter(Position at, std::span<const std::byte> bytes) const;
  // Whether every part begins and ends at such multiples.
  [[nodiscard]] bool aligned(size_t address, size_t length) const;

 private:
  template <class Copy>
  void walk(Position at, size_t bytes, const Copy& copy) const;

  std::vector<iovec> parts_;
  std::vector<iovec> rest_;  // of from(), when the first part is cut
};

}  // namespace godwit::devices
