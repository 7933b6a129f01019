// The host's side of each virtio model, for the fuzzer: makes the model and does what a host does
// to it. One more device is one more class here and one more line in virtio_fuzz.cc.
#pragma once
#include <stdlib.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <mutex>
#include <vector>

#include "devices/console/console.h"
#include "devices/virtio/balloon.h"
#include "devices/virtio/console.h"
#include "devices/virtio/rng.h"
#include "devices/virtio/vsock/vsock.h"
#include "tests/fuzz/fuzz_input.h"

namespace godwit::devices::virtio {

class Host {
 public:
  virtual ~Host() = default;
  // A fresh model, when the device begins and after each move. The one before is still there.
  virtual std::unique_ptr<Model> make() = 0;
  // While the device runs.
  virtual void act(Model& model, FuzzInput& in) = 0;
};

class RngHost final : public Host {
 public:
  std::unique_ptr<Model> make() override { return std::make_unique<Rng>(); }
  void act(Model&, FuzzInput&) override {}
};

// Takes as much as it is told to and remembers nothing of it.
class FuzzConsole final : public ConsoleBackend {
 public:
  void attach(ConsoleClient& client) override { client_ = &client; }
  void detach() noexcept override {}
  size_t write(std::span<const std::byte> bytes) override {
    const std::lock_guard lock(mutex_);
    const size_t n = std::min(bytes.size(), room_);
    room_ -= n;
    return n;
  }
  void set_input_wanted(bool wanted) override {
    const std::lock_guard lock(mutex_);
    wanted_ = wanted;
  }
  void quiesce() override {}
  void resume() override {}
  void save_output(ByteWriter& out) const override { out.blob(unsent_); }
  void load_output(std::span<const std::byte> bytes) override {
    unsent_.assign(bytes.begin(), bytes.end());
  }
  void shut_down(Unsent) noexcept override {}
  [[nodiscard]] std::string path() const override { return {}; }
  [[nodiscard]] ConsoleCounters counters() const override { return {}; }

  void type(std::span<const std::byte> bytes) {
    while (!bytes.empty() && take_wanted()) {
      const auto chunk = bytes.first(std::min(bytes.size(), kConsoleInputChunk));
      bytes = bytes.subspan(chunk.size());
      if (client_->receive(chunk)) set_input_wanted(true);
    }
  }
  void make_room(size_t bytes) {
    {
      const std::lock_guard lock(mutex_);
      room_ = bytes;
    }
    client_->output_room();
  }

 private:
  bool take_wanted() {
    const std::lock_guard lock(mutex_);
    return std::exchange(wanted_, false);
  }
  ConsoleClient* client_ = nullptr;
  std::mutex mutex_;
  size_t room_ = 1000;
  bool wanted_ = true;
  std::vector<std::byte> unsent_;
};

class ConsoleHost final : public Host {
 public:
  std::unique_ptr<Model> make() override {
    auto console = std::make_unique<FuzzConsole>();
    console_ = console.get();
    return std::make_unique<Console>(std::move(console));
  }
  void act(Model&, FuzzInput& in) override {
    const uint8_t n = in.u8();
    if (n < 128) {
      console_->type(in.take(n));
    } else {
      console_->make_room((n - 128u) * 16);
    }
  }

 private:
  FuzzConsole* console_ = nullptr;
};

// Hints may name guest memory (16 MiB) only, and only while somebody asks.
class BalloonHost final : public Host, private vmm::FreePageSink {
 public:
  std::unique_ptr<Model> make() override {
    if (balloon_ != nullptr) stop_asking();
    auto balloon = std::make_unique<Balloon>(BalloonConfig{.free_page_hint = true});
    balloon_ = balloon.get();
    return balloon;
  }
  void act(Model& model, FuzzInput& in) override {
    auto& balloon = static_cast<Balloon&>(model);
    const uint8_t n = in.u8();
    if (n % 2 == 0) balloon.set_target(n * 100u);
    if (n % 16 == 1 && !asking_.exchange(true)) asking_ = balloon.free_page_hints()->begin(*this);
    if (n % 16 == 3) stop_asking();
    (void)balloon.statistics();
  }

 private:
  void add_free(PageIndex first, uint64_t count) noexcept override {
    constexpr uint64_t kPages = (16_MiB).pages();
    if (first.value >= kPages || count > kPages - first.value || !asking_.load()) std::abort();
  }
  void stop_asking() {
    balloon_->free_page_hints()->end();
    asking_ = false;
  }
  Balloon* balloon_ = nullptr;
  std::atomic<bool> asking_{false};
};

// The guest's CID is 3; port 5 of the host is served.
class VsockHost final : public Host {
 public:
  VsockHost() {
    std::string pattern = (std::filesystem::temp_directory_path() / "godwit-fuzz-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) std::abort();
    directory_ = pattern;
  }
  ~VsockHost() override {
    std::error_code ignored;
    std::filesystem::remove_all(directory_, ignored);
  }
  std::unique_ptr<Model> make() override {
    path_ = (directory_ / std::to_string(made_++)).string();
    served_ = std::make_unique<UnixListener>(
        UnixListener::open("the fuzzer", fmt::format("{}_5", path_), 4).value());
    return Vsock::open({.cid = 3, .path = path_}).value();
  }
  void act(Model&, FuzzInput& in) override {
    const uint8_t what = in.u8();
    const size_t which = sockets_.empty() ? 0 : (what >> 3) % sockets_.size();
    char bytes[512];
    switch (what % 8) {
      case 0:
        return add(connect());
      case 1:
        return add(UniqueFd(::accept4(served_->fd(), nullptr, nullptr, SOCK_NONBLOCK)));
      case 2:
      case 3: {
        if (sockets_.empty()) return;
        const auto text = in.take(in.u8());
        (void)::send(sockets_[which].get(), text.data(), text.size(), MSG_NOSIGNAL);
        return;
      }
      case 4: {
        constexpr std::string_view kGreeting = "CONNECT 1024\n";
        if (sockets_.empty()) return;
        (void)::send(sockets_[which].get(), kGreeting.data(), kGreeting.size(), MSG_NOSIGNAL);
        return;
      }
      case 5:
        if (!sockets_.empty()) (void)::recv(sockets_[which].get(), bytes, sizeof bytes, 0);
        return;
      case 6:
        if (!sockets_.empty()) ::shutdown(sockets_[which].get(), (what >> 3) % 3);
        return;
      default:
        if (!sockets_.empty()) sockets_.erase(sockets_.begin() + static_cast<ptrdiff_t>(which));
        return;
    }
  }

 private:
  UniqueFd connect() {
    UniqueFd fd = new_unix_socket();
    const auto address = unix_address("the fuzzer", path_).value();
    if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
      return {};
    return fd;
  }
  void add(UniqueFd fd) {
    if (fd && sockets_.size() < 8) sockets_.push_back(std::move(fd));
  }
  std::filesystem::path directory_;
  int made_ = 0;
  std::string path_;
  std::unique_ptr<UnixListener> served_;
  std::vector<UniqueFd> sockets_;
};

}  // namespace godwit::devices::virtio
