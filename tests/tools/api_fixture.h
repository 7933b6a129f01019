// A server with a fake guest on a real socket.
#pragma once
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <string>
#include <thread>

#include "tests/tools/fake_guest.h"
#include "tests/tools/temp_dir.h"
#include "tools/godwit/api/client.h"
#include "tools/godwit/api/server.h"
#include "vmm/base/fd.h"

namespace godwit::tools {

// One connection, byte by byte.
class RawConnection {
 public:
  explicit RawConnection(const std::filesystem::path& socket)
      : fd_(check_syscall(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket")) {
    sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
    socket.string().copy(address.sun_path, sizeof address.sun_path - 1);
    check_syscall(::connect(fd_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address),
                  "connect");
  }
  bool send(std::string_view text) {
    while (!text.empty()) {
      const ssize_t sent = ::send(fd_.get(), text.data(), text.size(), MSG_NOSIGNAL);
      if (sent <= 0) return false;
      text.remove_prefix(static_cast<size_t>(sent));
    }
    return true;
  }
  // What comes until the text holds `until`, the connection ends, or nothing comes for 20 s.
  std::string receive(std::string_view until = {}) {
    std::string text;
    char part[4096];
    pollfd ready{fd_.get(), POLLIN, 0};
    while (until.empty() || text.find(until) == std::string::npos) {
      if (::poll(&ready, 1, 20'000) <= 0) {
        ADD_FAILURE() << "nothing more came after: " << text;
        break;
      }
      const ssize_t size = ::recv(fd_.get(), part, sizeof part, 0);
      if (size <= 0) break;
      text.append(part, static_cast<size_t>(size));
    }
    return text;
  }

 private:
  UniqueFd fd_;
};

class ApiTest : public testing::Test {
 protected:
  void SetUp() override { start({}); }
  void start(const ApiTimeouts& timeouts) {
    stop();
    auto started = ApiServer::start(loop(), socket(), guest, timeouts);
    ASSERT_TRUE(started) << started.error().message;
    server_ = std::move(*started);
    thread_ = std::jthread([this] { loop_->run(); });
  }
  void TearDown() override { stop(); }
  void stop() {
    if (loop_) loop_->stop();
    if (thread_.joinable()) thread_.join();
    server_.reset();
    loop_.reset();
    ::unlink(socket().c_str());
  }
  EventLoop& loop() {
    if (!loop_) loop_ = std::make_unique<EventLoop>();
    return *loop_;
  }
  [[nodiscard]] std::filesystem::path socket() const { return temp_ / "fake.sock"; }
  [[nodiscard]] ApiClient client() const {
    ApiClient made("fake", socket());
    made.set_timeout(std::chrono::seconds(20));
    return made;
  }
  std::string exchange(std::string_view request) {
    RawConnection connection(socket());
    connection.send(request);
    return connection.receive();
  }

  FakeGuest guest;
  TempDir temp_;
  std::unique_ptr<EventLoop> loop_;
  std::unique_ptr<ApiServer> server_;
  std::jthread thread_;
};

}  // namespace godwit::tools
