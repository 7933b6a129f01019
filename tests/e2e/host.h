// One host of a test: a run directory of its own and the godwit command in it.
#pragma once
#include <boost/json.hpp>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "tests/e2e/child.h"

namespace godwit::e2e {

// Long enough for a loaded machine and a build with sanitizers; nothing waits that long when all
// is well.
inline constexpr Nanoseconds kPatience = std::chrono::seconds(60);

using Arguments = std::vector<std::string>;
Arguments operator+(Arguments left, const Arguments& right);

struct CommandResult {
  int status = -1;
  std::string output;
  std::string errors;
};

class Host {
 public:
  // Files go below `directory`, which is made. Commands run in the network namespace `netns`, if
  // one is named, with `prefix` before them.
  explicit Host(std::filesystem::path directory, std::string netns = "", Arguments prefix = {});

  // Runs `godwit ARGUMENTS` to its end; fails the test if that does not come within kPatience.
  CommandResult godwit(const Arguments& arguments);
  // Starts it and returns at once.
  std::unique_ptr<Child> start(const Arguments& arguments, ChildOptions options = {});

  // `godwit info NAME --json`; an empty object while the instance does not answer.
  boost::json::object info(const std::string& name);
  // "running", "receiving", ...; "" while the instance does not answer.
  std::string state(const std::string& name);

  [[nodiscard]] const std::filesystem::path& directory() const { return directory_; }
  [[nodiscard]] std::filesystem::path run_dir() const { return directory_ / "run"; }
  // A new name below directory().
  std::filesystem::path fresh_path(const std::string& prefix);

 private:
  std::filesystem::path directory_;
  std::string netns_;
  Arguments prefix_;
  int files_ = 0;
};

// The binary under test: $GODWIT_BINARY, or the one built with the tests.
std::string godwit_binary();

// Waits until `condition()` holds. Nothing tells of most things that tests wait for: it is asked
// again every few milliseconds. False after `limit`.
template <class Condition>
bool eventually(Condition condition, Nanoseconds limit = kPatience) {
  const TimePoint deadline = now() + limit;
  while (!condition()) {
    if (now() >= deadline) return false;
    ::usleep(10'000);
  }
  return true;
}

// Members of JSON objects; the test fails, and a default comes back, where there is none such.
const boost::json::object& object_at(const boost::json::object& object, std::string_view key);
double number_at(const boost::json::object& object, std::string_view key);
std::string text_at(const boost::json::object& object, std::string_view key);

// The object that `text` consists of: exactly one, on one line. Else the test fails.
boost::json::object parse_only_object(const std::string& text);

}  // namespace godwit::e2e
