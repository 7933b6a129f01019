// An instance on a host, as a test sees it: the VMM's process and the guest's serial port.
#pragma once
#include <memory>
#include <string>

#include "bench/serial_client.h"
#include "tests/e2e/host.h"

namespace godwit::e2e {

// The workload guest (bench/workload/README.md).
struct GuestOptions {
  std::string name = "guest";
  std::string memory = "64M";
  int cpus = 1;
  std::string workload = "ws=16M rate=5000";
  Arguments more;  // of `godwit run`
};

class Guest {
 public:
  // `godwit run`; returns when the guest is at work.
  static std::unique_ptr<Guest> boot(Host& host, const GuestOptions& options);
  // `godwit receive` with `arguments`, one of which is --listen; returns when it waits for a
  // source.
  static std::unique_ptr<Guest> receive(Host& host, const Arguments& arguments,
                                        const std::string& name = "guest",
                                        ChildOptions options = {});

  [[nodiscard]] Host& host() { return host_; }
  [[nodiscard]] Child& process() { return *process_; }
  [[nodiscard]] const std::string& name() const { return name_; }
  // Where it waits, with the port that the system chose.
  [[nodiscard]] const std::string& url() const { return url_; }

  std::string state() { return host_.state(name_); }
  // Its exit status; fails the test if it still runs after kPatience.
  int exit_status();

  // The line with `key` that answers a command byte; fails the test if it says anything bad.
  bench::GuestLine ask(char command, const std::string& key);
  // All pages of the guest's memory are what it has written, says the guest.
  void expect_intact();
  // Pages that it has written so far.
  uint64_t pages_written();
  // It checks all of its memory a last time and powers itself off.
  void expect_good_end();
  // `godwit stop`; its process ends with `status`.
  void stop(int status = 0);

 private:
  Guest(Host& host, std::string name) : host_(host), name_(std::move(name)) {}
  [[nodiscard]] bench::SerialClient* serial();
  bool await_work();

  Host& host_;
  std::string name_;
  std::string url_;
  std::filesystem::path serial_path_;
  std::unique_ptr<Child> process_;
  std::optional<bench::SerialClient> serial_;
};

}  // namespace godwit::e2e
