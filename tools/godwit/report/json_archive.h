// One description of a structure's fields serves both ways: JsonWriter and JsonReader have the same
// members, and the description is a template over them.
#pragma once
#include <boost/json.hpp>
#include <cmath>
#include <concepts>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tools/godwit/text/json_text.h"
#include "vmm/base/clock.h"
#include "vmm/base/error.h"

namespace godwit::tools {

class JsonWriter {
 public:
  static constexpr bool kReads = false;
  explicit JsonWriter(boost::json::object& object) : object_(object) {}

  template <class T>
  void value(std::string_view key, const T& v) {
    put(key, v);
  }
  void hex(std::string_view key, uint64_t v) { put(key, fmt::format("{:016x}", v)); }
  template <class T>
  void optional(std::string_view key, const std::optional<T>& v) {
    if (v) put(key, *v);
  }
  // A value that follows from others: written for the reader's convenience.
  template <class T>
  void derived(std::string_view key, const T& v) {
    put(key, v);
  }
  template <class F>
  void object(std::string_view key, F&& fields) {
    boost::json::object inner;
    JsonWriter archive(inner);
    fields(archive);
    object_[key] = std::move(inner);
  }
  template <class T, class F>
  void optional_object(std::string_view key, std::optional<T>& v, F&& fields) {
    if (v) object(key, [&](auto& archive) { fields(archive, *v); });
  }
  template <class T, class F>
  void array(std::string_view key, std::vector<T>& items, F&& fields) {
    boost::json::array inner;
    for (T& item : items) {
      boost::json::object element;
      JsonWriter archive(element);
      fields(archive, item);
      inner.emplace_back(std::move(element));
    }
    object_[key] = std::move(inner);
  }

 private:
  void put(std::string_view key, Nanoseconds v) { object_[key] = json_ms(v); }
  void put(std::string_view key, const std::string& v) { object_[key] = v; }
  template <class T>
  requires std::is_arithmetic_v<T>
  void put(std::string_view key, T v) { object_[key] = v; }
  boost::json::object& object_;
};

// The first failure is kept and ends in status().
class JsonReader {
 public:
  static constexpr bool kReads = true;
  JsonReader(const boost::json::object& object, std::optional<Error>& error)
      : object_(object), error_(error) {}

  template <class T>
  void value(std::string_view key, T& v) {
    if (const auto* found = find(key)) get(key, *found, v);
  }
  void hex(std::string_view key, uint64_t& v) {
    std::string text;
    value(key, text);
    if (text.empty()) return;
    const bool good =
        text.size() <= 16 && text.find_first_not_of("0123456789abcdef") == std::string::npos;
    if (good)
      v = std::stoull(text, nullptr, 16);
    else
      fail(key, "a number in hexadecimal");
  }
  template <class T>
  void optional(std::string_view key, std::optional<T>& v) {
    if (const auto* found = find(key)) get(key, *found, v.emplace());
  }
  template <class T>
  void derived(std::string_view, const T&) {}
  template <class F>
  void object(std::string_view key, F&& fields) {
    const auto* found = find(key);
    if (found == nullptr) return;
    if (!found->is_object()) return fail(key, "an object");
    JsonReader archive(found->get_object(), error_);
    fields(archive);
  }
  template <class T, class F>
  void optional_object(std::string_view key, std::optional<T>& v, F&& fields) {
    if (find(key) != nullptr) object(key, [&](auto& archive) { fields(archive, v.emplace()); });
  }
  template <class T, class F>
  void array(std::string_view key, std::vector<T>& items, F&& fields) {
    const auto* found = find(key);
    if (found == nullptr) return;
    if (!found->is_array()) return fail(key, "an array");
    for (const auto& element : found->get_array()) {
      if (!element.is_object()) return fail(key, "an array of objects");
      JsonReader archive(element.get_object(), error_);
      fields(archive, items.emplace_back());
    }
  }

 private:
  const boost::json::value* find(std::string_view key) const {
    const auto* found = object_.if_contains(key);
    return found != nullptr && found->is_null() ? nullptr : found;
  }
  void fail(std::string_view key, std::string_view expected) {
    if (!error_) error_ = make_error(Errc::kCorrupt, "the field '{}' is not {}", key, expected);
  }
  void get(std::string_view key, const boost::json::value& from, double& v) {
    boost::system::error_code problem;
    const double number = from.to_number<double>(problem);
    if (problem || !std::isfinite(number)) return fail(key, "a number");
    v = number;
  }
  void get(std::string_view key, const boost::json::value& from, Nanoseconds& v) {
    double ms = 0;
    get(key, from, ms);
    if (std::fabs(ms) > 9e12) return fail(key, "a time in milliseconds");
    v = Nanoseconds(std::llround(ms * 1e6));
  }
  void get(std::string_view key, const boost::json::value& from, std::string& v) {
    if (!from.is_string()) return fail(key, "a string");
    v = std::string(from.get_string());
  }
  void get(std::string_view key, const boost::json::value& from, bool& v) {
    if (!from.is_bool()) return fail(key, "true or false");
    v = from.get_bool();
  }
  template <std::unsigned_integral T>
  void get(std::string_view key, const boost::json::value& from, T& v) {
    boost::system::error_code problem;
    const T number = from.to_number<T>(problem);
    if (problem) return fail(key, "a whole number in range");
    v = number;
  }

  const boost::json::object& object_;
  std::optional<Error>& error_;
};

}  // namespace godwit::tools
