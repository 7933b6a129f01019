#include "bench/workload/core/params.h"

#include <initializer_list>

namespace godwit::workload {
namespace {

struct Text {
  const char* data;
  size_t size;
  [[nodiscard]] bool is(const char* other) const {
    size_t i = 0;
    for (; i < size && other[i] != '\0'; ++i) {
      if (data[i] != other[i]) return false;
    }
    return i == size && other[i] == '\0';
  }
};

constexpr uint64_t kMaxSeconds = 1'000'000'000;

// A decimal number and where it ended; false if there is none or it does not fit.
bool parse_digits(Text text, size_t& pos, uint64_t& value) {
  const size_t start = pos;
  value = 0;
  for (; pos < text.size && text.data[pos] >= '0' && text.data[pos] <= '9'; ++pos) {
    const auto digit = static_cast<uint64_t>(text.data[pos] - '0');
    if (__builtin_mul_overflow(value, uint64_t{10}, &value)) return false;
    if (__builtin_add_overflow(value, digit, &value)) return false;
  }
  return pos != start;
}

bool parse_number(Text text, uint64_t low, uint64_t high, uint64_t& out) {
  size_t pos = 0;
  uint64_t value = 0;
  if (!parse_digits(text, pos, value) || pos != text.size || value < low || value > high) {
    return false;
  }
  out = value;
  return true;
}

// 4096, 64K, 256M, 1G, 1T.
bool parse_size(Text text, uint64_t& out) {
  size_t pos = 0;
  uint64_t value = 0;
  if (!parse_digits(text, pos, value)) return false;
  unsigned shift = 0;
  if (pos < text.size) {
    switch (text.data[pos++]) {
      case 'K':
        shift = 10;
        break;
      case 'M':
        shift = 20;
        break;
      case 'G':
        shift = 30;
        break;
      case 'T':
        shift = 40;
        break;
      default:
        return false;
    }
  }
  if (pos != text.size || value > (uint64_t{1} << 62) >> shift) return false;
  out = value << shift;
  return true;
}

// Seconds with up to three decimals, in milliseconds.
bool parse_seconds(Text text, uint64_t& out) {
  size_t pos = 0;
  uint64_t seconds = 0;
  uint64_t ms = 0;
  if (!parse_digits(text, pos, seconds) || seconds > kMaxSeconds) return false;
  if (pos < text.size && text.data[pos] == '.') {
    const size_t dot = pos++;
    if (!parse_digits(text, pos, ms) || pos - dot > 4) return false;
    for (size_t digits = pos - dot; digits < 4; ++digits) ms *= 10;
  }
  if (pos != text.size) return false;
  out = seconds * 1000 + ms;
  return true;
}

bool parse_flag(Text text, bool& out) {
  if (!text.is("0") && !text.is("1")) return false;
  out = text.is("1");
  return true;
}

bool parse_pattern(Text text, Pattern& out) {
  for (Pattern p : {Pattern::kSequential, Pattern::kUniform, Pattern::kZipf}) {
    if (!text.is(pattern_name(p))) continue;
    out = p;
    return true;
  }
  return false;
}

bool parse_content(Text text, Content& out) {
  for (Content c : {Content::kZero, Content::kCompress, Content::kRandom, Content::kMixed}) {
    if (!text.is(content_name(c))) continue;
    out = c;
    return true;
  }
  return false;
}

bool parse_rate(Text text, uint64_t& out) {
  if (text.is("max")) {
    out = kRateMax;
    return true;
  }
  return parse_number(text, 0, 100'000'000, out);
}

bool parse_fill(Text text, uint64_t& out) {
  if (text.is("all")) {
    out = kFillAll;
    return true;
  }
  return parse_size(text, out);
}

// nullptr, or what is wrong.
const char* set_param(Text key, Text value, Params& p) {
  bool ok = false;
  if (key.is("ws"))
    ok = parse_size(value, p.ws_bytes);
  else if (key.is("rate"))
    ok = parse_rate(value, p.rate);
  else if (key.is("pattern"))
    ok = parse_pattern(value, p.pattern);
  else if (key.is("content"))
    ok = parse_content(value, p.content);
  else if (key.is("fill"))
    ok = parse_fill(value, p.fill_bytes);
  else if (key.is("seed"))
    ok = parse_number(value, 0, ~uint64_t{0}, p.seed);
  else if (key.is("spin"))
    ok = parse_flag(value, p.spin);
  else if (key.is("report"))
    ok = parse_seconds(value, p.report_ms);
  else if (key.is("check"))
    ok = parse_seconds(value, p.check_ms);
  else if (key.is("duration"))
    ok = parse_seconds(value, p.duration_ms);
  else if (key.is("sweep"))
    ok = parse_number(value, 0, 1'000'000, p.sweep);
  else if (key.is("tick_us"))
    ok = parse_number(value, 100, 1'000'000, p.tick_us);
  else if (key.is("cpus"))
    ok = parse_number(value, 1, 64, p.cpus);
  else if (key.is("tsc_khz"))
    ok = parse_number(value, 10'000, 100'000'000, p.tsc_khz);
  else
    return "unknown key";
  return ok ? nullptr : "bad value";
}

bool blank(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

}  // namespace

ParamError parse_params(const char* line, Params& params) {
  while (true) {
    while (blank(*line)) ++line;
    if (*line == '\0') return {};
    const char* word = line;
    const char* equals = nullptr;
    for (; *line != '\0' && !blank(*line); ++line) {
      if (*line == '=' && equals == nullptr) equals = line;
    }
    const auto length = static_cast<size_t>(line - word);
    if (equals == nullptr) return {"not key=value", word, length};
    const Text key{word, static_cast<size_t>(equals - word)};
    const Text value{equals + 1, static_cast<size_t>(line - equals - 1)};
    if (const char* what = set_param(key, value, params)) return {what, word, length};
  }
}

const char* pattern_name(Pattern pattern) {
  switch (pattern) {
    case Pattern::kSequential:
      return "seq";
    case Pattern::kUniform:
      return "uniform";
    case Pattern::kZipf:
      return "zipf";
  }
  return "?";
}

const char* content_name(Content content) {
  switch (content) {
    case Content::kZero:
      return "zero";
    case Content::kCompress:
      return "compress";
    case Content::kRandom:
      return "random";
    case Content::kMixed:
      return "mixed";
  }
  return "?";
}

}  // namespace godwit::workload
