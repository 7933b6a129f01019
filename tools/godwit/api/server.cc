#include "tools/godwit/api/server.h"

#include <sys/stat.h>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "tools/godwit/api/server_impl.h"

namespace godwit::tools {
namespace asio = boost::asio;
using asio::local::stream_protocol;

namespace {

using StatePointer = std::shared_ptr<ServerState>;

// Waits out a shortage of descriptors instead of spinning on it.
asio::awaitable<void> wait_a_little(StatePointer state) {
  asio::steady_timer timer(state->context, std::chrono::milliseconds(100));
  boost::system::error_code ignored;
  co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
}

asio::awaitable<void> accept_connections(StatePointer state) {
  while (!state->closing) {
    boost::system::error_code problem;
    LocalSocket socket =
        co_await state->acceptor.async_accept(asio::redirect_error(asio::use_awaitable, problem));
    if (state->closing) co_return;
    if (problem)
      co_await wait_a_little(state);
    else
      start_session(state, std::move(socket));
  }
}

// The mode is set before bind(2), so the socket is never there with another one.
Result<> listen_at(stream_protocol::acceptor& acceptor, const std::filesystem::path& socket) {
  boost::system::error_code problem;
  acceptor.open(stream_protocol(), problem);
  if (!problem && ::fchmod(acceptor.native_handle(), 0600) != 0)
    problem.assign(errno, boost::system::system_category());
  if (!problem) acceptor.bind(stream_protocol::endpoint(socket.string()), problem);
  if (!problem) acceptor.listen(asio::socket_base::max_listen_connections, problem);
  if (!problem) return {};
  return error_from_errno(problem.value(),
                          fmt::format("cannot listen for commands at {}", socket.string()));
}

}  // namespace

Result<std::unique_ptr<ApiServer>> ApiServer::start(EventLoop& loop,
                                                    const std::filesystem::path& socket,
                                                    Guest& guest, const ApiTimeouts& timeouts) {
  auto state = std::make_shared<ServerState>(loop.context(), guest, timeouts);
  GODWIT_TRY(listen_at(state->acceptor, socket));
  // From any thread; one wake-up on its way is enough.
  guest.on_migration_change([weak = std::weak_ptr(state)] {
    const auto locked = weak.lock();
    if (!locked || locked->news_posted.exchange(true)) return;
    asio::post(locked->context, [locked] {
      locked->news_posted = false;
      locked->news.cancel();
    });
  });
  asio::co_spawn(state->context, accept_connections(state), asio::detached);
  return std::unique_ptr<ApiServer>(new ApiServer(std::move(state)));
}

ApiServer::ApiServer(StatePointer state) : state_(std::move(state)) {}

ApiServer::~ApiServer() {
  state_->closing = true;
  if (state_->guest != nullptr) state_->guest->on_migration_change({});
  state_->on_done = {};
  state_->finish();
  boost::system::error_code ignored;
  state_->acceptor.close(ignored);
}

void ApiServer::close(Nanoseconds limit, std::function<void()> done) {
  state_->closing = true;
  boost::system::error_code ignored;
  state_->acceptor.close(ignored);
  state_->on_done = std::move(done);
  if (state_->answers_under_way == 0) return state_->finish();
  state_->grace.expires_after(limit);
  state_->grace.async_wait([state = state_](boost::system::error_code problem) {
    if (!problem) state->finish();
  });
}

}  // namespace godwit::tools
