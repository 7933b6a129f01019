// One line of key=value words.
#pragma once
#include <stddef.h>
#include <stdint.h>

namespace godwit::workload {

class Line {
 public:
  Line& word(const char* text) { return blank().raw(text); }
  Line& kv(const char* key, const char* value) { return word(key).raw("=").raw(value); }
  Line& kv(const char* key, uint64_t value) {
    word(key).raw("=");
    return number(value);
  }
  Line& hex(const char* key, uint64_t value) {
    word(key).raw("=0x");
    int shift = 60;
    while (shift > 0 && (value >> shift) == 0) shift -= 4;
    for (; shift >= 0; shift -= 4) put("0123456789abcdef"[value >> shift & 15]);
    return *this;
  }
  // Tenths, as 12.3.
  Line& tenths(const char* key, uint64_t value) {
    word(key).raw("=");
    number(value / 10);
    put('.');
    put(static_cast<char>('0' + value % 10));
    return *this;
  }
  Line& raw(const char* text) {
    while (*text != '\0') put(*text++);
    return *this;
  }
  Line& raw(const char* text, size_t n) {
    for (size_t i = 0; i < n; ++i) put(text[i]);
    return *this;
  }
  [[nodiscard]] const char* data() const { return data_; }
  [[nodiscard]] size_t size() const { return size_; }

 private:
  Line& blank() {
    if (size_ > 0) put(' ');
    return *this;
  }
  Line& number(uint64_t value) {
    char digits[20];
    size_t n = 0;
    do {
      digits[n++] = static_cast<char>('0' + value % 10);
      value /= 10;
    } while (value != 0);
    while (n > 0) put(digits[--n]);
    return *this;
  }
  void put(char c) {
    if (size_ < sizeof(data_)) data_[size_++] = c;
  }

  char data_[320];
  size_t size_ = 0;
};

}  // namespace godwit::workload
