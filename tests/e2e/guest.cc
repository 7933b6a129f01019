#include "tests/e2e/guest.h"

#include <gtest/gtest.h>

namespace godwit::e2e {

std::unique_ptr<Guest> Guest::boot(Host& host, const GuestOptions& options) {
  std::unique_ptr<Guest> guest(new Guest(host, options.name));
  guest->serial_path_ = host.fresh_path("tty");
  const std::string cpus = std::to_string(options.cpus);
  // No reports of its own: what comes is the answer to a question.
  guest->process_ = host.start(Arguments{"run", "--name", options.name, "--memory", options.memory,
                                         "--cpus", cpus, "--kernel", "builtin:workload",
                                         "--cmdline", options.workload + " report=0 cpus=" + cpus,
                                         "--serial", "unix=" + guest->serial_path_.string()} +
                               options.more);
  if (!guest->await_work())
    ADD_FAILURE() << "the guest does not come up; its VMM wrote: " << guest->process_->errors();
  return guest;
}

std::unique_ptr<Guest> Guest::receive(Host& host, const Arguments& arguments,
                                      const std::string& name, ChildOptions options) {
  std::unique_ptr<Guest> guest(new Guest(host, name));
  guest->serial_path_ = host.fresh_path("tty");
  guest->process_ = host.start(
      Arguments{"receive", "--name", name, "--serial", "unix=" + guest->serial_path_.string()} +
          arguments,
      std::move(options));
  eventually([&] {
    const boost::json::object info = host.info(name);
    if (!info.empty()) guest->url_ = text_at(info, "listen");
    return !guest->url_.empty() || !guest->process_->running();
  });
  if (guest->url_.empty()) ADD_FAILURE() << "no receiver; it wrote: " << guest->process_->errors();
  return guest;
}

// A line that came before somebody listened is lost, and so may be a byte that came before the
// guest has set up its port: it is asked until it answers.
bool Guest::await_work() {
  bool answers = false;
  eventually([&] {
    constexpr auto kAskAgain = std::chrono::milliseconds(500);
    bench::SerialClient* port = serial();
    answers = port != nullptr && port->ask('r', "report", kAskAgain);
    return answers || !process_->running();
  });
  return answers;
}

bench::SerialClient* Guest::serial() {
  if (!serial_) {
    auto client = bench::SerialClient::connect(serial_path_, std::chrono::seconds(5));
    if (!client) return nullptr;
    serial_.emplace(std::move(*client));
  }
  return &*serial_;
}

int Guest::exit_status() {
  const auto status = process_->wait(kPatience);
  if (!status) ADD_FAILURE() << "'" << name_ << "' does not end; it wrote: " << process_->errors();
  return status.value_or(-1);
}

bench::GuestLine Guest::ask(char command, const std::string& key) {
  bench::SerialClient* port = serial();
  if (port == nullptr) {
    ADD_FAILURE() << "no serial port at " << serial_path_ << ": " << process_->errors();
    return {};
  }
  auto line = port->ask(command, key, kPatience);
  if (line) return std::move(*line);
  ADD_FAILURE() << line.error().message << "; the VMM wrote: " << process_->errors();
  return {};
}

void Guest::expect_intact() {
  EXPECT_EQ(ask('c', "check_ms").value("check"), "ok");
}

uint64_t Guest::pages_written() {
  const auto pages = ask('r', "report").number("pages");
  EXPECT_TRUE(pages) << pages.error().message;
  return pages ? *pages : 0;
}

void Guest::expect_good_end() {
  EXPECT_EQ(ask('q', "final").value("check"), "ok");
  constexpr int kGood = 1;  // code 0 at the debug-exit port
  EXPECT_EQ(exit_status(), kGood) << process_->errors();
}

void Guest::stop(int status) {
  const CommandResult result = host_.godwit({"stop", name_});
  EXPECT_EQ(result.status, 0) << result.errors;
  EXPECT_EQ(exit_status(), status) << process_->errors();
}

}  // namespace godwit::e2e
