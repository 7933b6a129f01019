// Inside the server: what its connections share.
#pragma once
#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <memory>

#include "tools/godwit/api/server.h"

namespace godwit::tools {

using LocalSocket = boost::asio::local::stream_protocol::socket;

struct ServerState {
  ServerState(boost::asio::io_context& io, Guest& the_guest, const ApiTimeouts& the_timeouts)
      : context(io), guest(&the_guest), timeouts(the_timeouts), acceptor(io), news(io), grace(io) {
    news.expires_at(boost::asio::steady_timer::time_point::max());
  }

  // Called as each answer ends.
  void answer_ended() {
    --answers_under_way;
    if (answers_under_way == 0 && closing) finish();
  }
  // Ends close().
  void finish() {
    guest = nullptr;
    grace.cancel();
    if (auto done = std::exchange(on_done, {})) done();
  }

  boost::asio::io_context& context;
  Guest* guest;  // null once the server is closed
  ApiTimeouts timeouts;
  boost::asio::local::stream_protocol::acceptor acceptor;
  boost::asio::steady_timer news;   // cancelled to wake the streams
  boost::asio::steady_timer grace;  // the limit of close()
  std::atomic<bool> news_posted{false};
  std::function<void()> on_done;
  bool closing = false;
  size_t connections = 0;
  size_t answers_under_way = 0;
};

// Serves one connection until it ends. Starts a coroutine of its own.
void start_session(std::shared_ptr<ServerState> server, LocalSocket socket);

}  // namespace godwit::tools
