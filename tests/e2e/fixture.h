// Two hosts on one machine and what moves between them.
#pragma once
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/e2e/guest.h"

namespace godwit::e2e {

// The exit statuses that `godwit --help` promises.
enum ExitStatus : int {
  kDone = 0,
  kFailed = 1,
  kUsage = 2,
  kNotFound = 3,
  kStaysAtSource = 4,
  kCancelled = 5,
  kUnknownOutcome = 6,
};

// A directory of the test's own, with a name that leaves room for socket paths.
class WorkDir {
 public:
  WorkDir();
  ~WorkDir();
  WorkDir(const WorkDir&) = delete;
  WorkDir& operator=(const WorkDir&) = delete;
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

// What `godwit migrate --json` did.
struct Move {
  int status = -1;
  boost::json::object report;
  std::string errors;

  [[nodiscard]] std::string outcome() const { return text_at(report, "status"); }
  [[nodiscard]] std::string reason() const { return text_at(report, "error-desc"); }
};

class E2eTest : public testing::Test {
 protected:
  // Skips where KVM cannot be used.
  void SetUp() override;

  static constexpr const char* kAnyPort = "tcp://127.0.0.1:0";
  static inline const Arguments kPlain{"--plaintext"};

  // --tls-dir with certificates of `godwit certs` for 127.0.0.1 and ::1, made at first use.
  Arguments tls();

  // Starts a receiver on `host`.
  std::unique_ptr<Guest> receiver(Host& host, const Arguments& security = kPlain,
                                  const std::string& url = kAnyPort);

  // `godwit migrate NAME URL --json ARGUMENTS`, whose stdout must be one JSON object.
  static Move migrate(Guest& guest, const std::string& url, const Arguments& arguments = kPlain);
  static std::unique_ptr<Child> start_migrate(Guest& guest, const std::string& url,
                                              const Arguments& arguments = kPlain);
  static Move end_of(Child& migrate);

  // Waits until the migration of `guest` has moved some of its memory.
  static void await_precopy(Guest& guest);

  // What must hold after each migration that went well, with --verify.
  static void expect_completed(const Move& move);
  // The migration came to nothing, the guest has noticed nothing, and `reason` is in both the JSON
  // and stderr.
  static void expect_stays(Guest& guest, const Move& move, const std::string& reason,
                           int status = kStaysAtSource);

  WorkDir dir_;
  Host a_{dir_.path() / "a"};
  Host b_{dir_.path() / "b"};

 private:
  std::filesystem::path tls_dir_;
};

}  // namespace godwit::e2e
