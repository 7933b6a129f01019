#include "tests/e2e/host.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

namespace godwit::e2e {
namespace json = boost::json;

Arguments operator+(Arguments left, const Arguments& right) {
  left.insert(left.end(), right.begin(), right.end());
  return left;
}

std::string godwit_binary() {
  const char* chosen = std::getenv("GODWIT_BINARY");  // NOLINT(concurrency-mt-unsafe)
  return chosen != nullptr && *chosen != '\0' ? chosen : GODWIT_BINARY;
}

Host::Host(std::filesystem::path directory, std::string netns, Arguments prefix)
    : directory_(std::move(directory)), netns_(std::move(netns)), prefix_(std::move(prefix)) {
  std::filesystem::create_directories(directory_);
}

std::filesystem::path Host::fresh_path(const std::string& prefix) {
  return directory_ / (prefix + std::to_string(++files_));
}

std::unique_ptr<Child> Host::start(const Arguments& arguments, ChildOptions options) {
  if (!netns_.empty()) options.command = {"ip", "netns", "exec", netns_};
  options.command = options.command + prefix_;
  options.command.push_back(godwit_binary());
  options.command = options.command + arguments;
  options.environment.try_emplace("GODWIT_RUN_DIR", run_dir().string());
  const std::string name = arguments.empty() ? "godwit" : arguments.front();
  options.output = fresh_path(name + ".out");
  options.errors = fresh_path(name + ".err");
  return std::make_unique<Child>(options);
}

CommandResult Host::godwit(const Arguments& arguments) {
  const auto child = start(arguments);
  const auto status = child->wait(kPatience);
  if (!status) {
    std::string text;
    for (const std::string& argument : arguments) text += " " + argument;
    ADD_FAILURE() << "godwit" << text << " does not end; it wrote: " << child->errors();
  }
  return {status.value_or(-1), child->output(), child->errors()};
}

json::object Host::info(const std::string& name) {
  const CommandResult result = godwit({"info", name, "--json"});
  return result.status == 0 ? parse_only_object(result.output) : json::object();
}

std::string Host::state(const std::string& name) {
  const json::object object = info(name);
  return object.empty() ? "" : text_at(object, "state");
}

const json::object& object_at(const json::object& object, std::string_view key) {
  static const json::object kNone;
  const json::value* value = object.if_contains(key);
  if (value != nullptr && value->is_object()) return value->get_object();
  ADD_FAILURE() << "no object '" << key << "' in " << json::serialize(object);
  return kNone;
}

double number_at(const json::object& object, std::string_view key) {
  const json::value* value = object.if_contains(key);
  if (value != nullptr && value->is_number()) return value->to_number<double>();
  ADD_FAILURE() << "no number '" << key << "' in " << json::serialize(object);
  return 0;
}

std::string text_at(const json::object& object, std::string_view key) {
  const json::value* value = object.if_contains(key);
  if (value != nullptr && value->is_string()) return std::string(value->get_string());
  ADD_FAILURE() << "no text '" << key << "' in " << json::serialize(object);
  return "";
}

json::object parse_only_object(const std::string& text) {
  boost::system::error_code problem;
  json::value value = json::parse(text, problem);
  EXPECT_EQ(std::ranges::count(text, '\n'), 1) << text;
  if (!problem && value.is_object()) return std::move(value.get_object());
  ADD_FAILURE() << "not one JSON object: '" << text << "'";
  return {};
}

}  // namespace godwit::e2e
