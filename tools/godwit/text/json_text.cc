#include "tools/godwit/text/json_text.h"

#include <fmt/core.h>

#include <boost/json.hpp>
#include <cmath>

namespace godwit::tools {
namespace json = boost::json;
namespace {

std::string number(double v) {
  if (!std::isfinite(v)) return "null";
  if (std::fabs(v) >= 1e15) return fmt::format("{:.0f}", v);
  std::string text = fmt::format("{:.9f}", v);
  text.erase(text.find_last_not_of('0') + 1);
  if (text.back() == '.') text.pop_back();
  return text == "-0" ? "0" : text;
}

class Printer {
 public:
  explicit Printer(bool pretty) : pretty_(pretty) {}

  void print(const json::value& v) {
    if (const auto* object = v.if_object())
      print(*object);
    else if (const auto* array = v.if_array())
      print(*array);
    else if (const auto* real = v.if_double())
      out_ += number(*real);
    else
      out_ += json::serialize(v);
  }
  std::string take() { return std::move(out_); }

 private:
  void print(const json::object& object) {
    out_ += '{';
    ++depth_;
    bool first = true;
    for (const auto& [key, value] : object) {
      next(first);
      out_ += json::serialize(json::string_view(key));
      out_ += pretty_ ? ": " : ":";
      print(value);
    }
    close(first, '}');
  }
  void print(const json::array& array) {
    out_ += '[';
    ++depth_;
    bool first = true;
    for (const json::value& value : array) {
      next(first);
      print(value);
    }
    close(first, ']');
  }
  void next(bool& first) {
    if (!first) out_ += ',';
    first = false;
    new_line();
  }
  void close(bool empty, char bracket) {
    --depth_;
    if (!empty) new_line();
    out_ += bracket;
  }
  void new_line() {
    if (pretty_) out_ += '\n' + std::string(2 * depth_, ' ');
  }

  bool pretty_;
  size_t depth_ = 0;
  std::string out_;
};

std::string print(const json::value& value, bool pretty) {
  Printer printer(pretty);
  printer.print(value);
  return printer.take();
}

}  // namespace

std::string to_text(const json::value& value) {
  return print(value, false);
}

std::string to_pretty_text(const json::value& value) {
  return print(value, true);
}

Result<json::object> parse_object(std::string_view text) {
  json::parse_options options;
  options.max_depth = 16;
  json::stream_parser parser(json::storage_ptr(), options);
  boost::system::error_code problem;
  const size_t used = parser.write(text.data(), text.size(), problem);
  if (!problem) parser.finish(problem);
  if (problem)
    return make_error(Errc::kInvalidArgument, "malformed JSON at byte {}: {}", used,
                      problem.message());
  json::value value = parser.release();
  if (!value.is_object())
    return make_error(Errc::kInvalidArgument, "the JSON here must be an object ({{...}})");
  return std::move(value.get_object());
}

double json_ms(Nanoseconds duration) {
  return static_cast<double>(duration.count()) / 1e6;
}

}  // namespace godwit::tools
