// All streams of a socket device and their host side, a Unix socket as Firecracker and Cloud
// Hypervisor have it: a program of the host connects to PATH, says "CONNECT PORT\n", and reads
// "OK PORT\n" (the port of its own end) once the guest has accepted, or the end of the file if it
// has not. What the guest connects to, port P of CID 2, is the host's socket PATH_P.
#pragma once
#include <deque>
#include <list>
#include <map>
#include <optional>
#include <string>

#include "devices/unix_socket/unix_listener.h"
#include "devices/virtio/vsock/connection.h"

namespace godwit::devices::virtio::vsock {

// Not synchronised.
class Streams {
 public:
  // Of both kinds; a stream that ended on one side only makes room for a new one, as does one that
  // the guest has not answered yet. With their buffers they hold 64 MiB at most.
  static constexpr size_t kMostConnections = 256;
  static constexpr size_t kMostGreetings = 64;  // connected, but no CONNECT yet
  // receive() may add one reply; has_room() says that this many are not reached.
  static constexpr size_t kMostReplies = 256;

  // Errors: as UnixListener; a path that leaves no room for "_PORT".
  static Result<Streams> open(uint64_t guest_cid, const std::string& path);
  Streams(Streams&&) = default;

  // Readable when serve_host() has something to do.
  [[nodiscard]] int events_fd() const { return epoll_.get(); }
  void serve_host();

  // Whether receive() may be called.
  [[nodiscard]] bool has_room() const { return replies_.size() < kMostReplies; }
  // Takes a packet of the guest whose length lies within `chain`.
  void receive(const Packet& packet, const Chain& chain);

  [[nodiscard]] bool wants_to_send() const { return !replies_.empty() || !senders_.empty(); }
  // Makes the next packet for the guest in `chain`, which has room for more than a header; the
  // bytes written, 0 when there is none after all.
  uint32_t fill(const Chain& chain);

  // The driver has reset the device.
  void close_all();
  [[nodiscard]] size_t connections() const { return connections_.size(); }

 private:
  struct Greeting {
    UniqueFd socket;
    std::string line;
  };
  struct Entry {
    Connection connection;
    Connection::Interest interest = {};  // as epoll has it
    bool sending = false;                // is in senders_
  };
  using Entries = std::map<Ports, Entry>;

  Streams(uint64_t guest_cid, UnixListener listener);
  void watch(int fd, uint32_t events, bool fresh);
  void accept_host();
  void read_greeting(std::list<Greeting>::iterator greeting);
  void end_greeting(std::list<Greeting>::iterator greeting);
  void connect_to_guest(UniqueFd socket, uint32_t guest_port);
  void connect_to_host(const Packet& packet);
  std::optional<uint32_t> free_host_port(uint32_t guest_port);
  bool make_room();
  void add(Connection connection);
  void settle(Entries::iterator at);
  void forget_closed(const Ports& ports);
  void remove(Entries::iterator at);
  void reset(Entries::iterator at);
  void reply_reset(const Packet& to);

  uint64_t guest_cid_;
  UnixListener listener_;
  UniqueFd epoll_;
  bool listening_ = false;
  std::list<Greeting> greetings_;  // the oldest first
  Entries connections_;
  std::map<int, Ports> by_fd_;  // of what epoll watches
  std::deque<Ports> senders_;   // whose turn it is
  std::deque<Packet> replies_;
  uint32_t next_host_port_;
};

}  // namespace godwit::devices::virtio::vsock
