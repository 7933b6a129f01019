// One connection of the API server.
#include <sys/socket.h>
#include <unistd.h>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/basic_stream.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>
#include <boost/json.hpp>

#include "tools/godwit/api/messages.h"
#include "tools/godwit/api/routes.h"
#include "tools/godwit/api/server_impl.h"
#include "tools/godwit/text/json_text.h"
#include "tools/godwit/version.h"

namespace godwit::tools {
namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using boost::system::error_code;

namespace {

using Stream = beast::basic_stream<asio::local::stream_protocol>;
using StatePointer = std::shared_ptr<ServerState>;
using Parser = http::request_parser<http::string_body>;

// A connection counts as long as this lives.
class Counted {
 public:
  explicit Counted(size_t& count) : count_(count) { ++count_; }
  ~Counted() { --count_; }
  Counted(const Counted&) = delete;
  Counted& operator=(const Counted&) = delete;

 private:
  size_t& count_;
};

// An answer is under way as long as this lives.
class Answering {
 public:
  explicit Answering(StatePointer state) : state_(std::move(state)) { ++state_->answers_under_way; }
  ~Answering() { state_->answer_ended(); }
  Answering(const Answering&) = delete;
  Answering& operator=(const Answering&) = delete;

 private:
  StatePointer state_;
};

bool peer_is_owner(Stream& stream) {
  ucred peer{};
  socklen_t size = sizeof peer;
  if (::getsockopt(stream.socket().native_handle(), SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0)
    return false;
  return peer.uid == 0 || peer.uid == ::geteuid();
}

// What to answer to a request that could not be read; nothing when there is nobody to answer to.
std::optional<ApiAnswer> refusal_of(error_code problem) {
  if (problem == http::error::end_of_stream) return std::nullopt;
  if (problem == http::error::body_limit)
    return error_answer(
        413, make_error(Errc::kInvalidArgument, "a request may have {} bytes", kMaxBodyBytes));
  if (problem == http::error::header_limit)
    return error_answer(431, make_error(Errc::kInvalidArgument,
                                        "a request's header may have {} bytes", kMaxHeaderBytes));
  if (problem.category() == make_error_code(http::error::bad_method).category())
    return error_answer(
        400, make_error(Errc::kInvalidArgument, "malformed HTTP request: {}", problem.message()));
  if (problem == beast::error::timeout)
    return error_answer(408, make_error(Errc::kTimeout, "the request did not arrive in time"));
  return std::nullopt;
}

asio::awaitable<bool> write_answer(Stream& stream, ApiAnswer answer, bool keep_alive,
                                   Nanoseconds limit) {
  http::response<http::string_body> response(static_cast<http::status>(answer.status), 11);
  response.set(http::field::server, fmt::format("godwit/{}", kVersion));
  response.keep_alive(keep_alive);
  if (!answer.allow.empty()) response.set(http::field::allow, answer.allow);
  if (answer.status != 204) {
    response.set(http::field::content_type, "application/json");
    response.body() = std::move(answer.body) + "\n";
    response.prepare_payload();
  }
  stream.expires_after(limit);
  error_code problem;
  co_await http::async_write(stream, response, asio::redirect_error(asio::use_awaitable, problem));
  co_return !problem;
}

// Waits for news, at most until the next heartbeat.
asio::awaitable<void> wait_for_news(StatePointer state) {
  asio::steady_timer beat(state->context, state->timeouts.heartbeat);
  // Either timer ends the wait: the heartbeat wakes all streams, which costs next to nothing.
  beat.async_wait([state](error_code problem) {
    if (!problem) state->news.cancel();
  });
  error_code ignored;
  co_await state->news.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
}

asio::awaitable<bool> write_line(Stream& stream, std::string line, Nanoseconds limit) {
  line += '\n';
  stream.expires_after(limit);
  error_code problem;
  co_await asio::async_write(stream, http::make_chunk(asio::buffer(line)),
                             asio::redirect_error(asio::use_awaitable, problem));
  co_return !problem;
}

asio::awaitable<void> write_news(StatePointer state, Stream& stream) {
  const Nanoseconds limit = state->timeouts.request;
  http::response<http::empty_body> head(http::status::ok, 11);
  head.set(http::field::server, fmt::format("godwit/{}", kVersion));
  head.set(http::field::content_type, kNdjson);
  head.chunked(true);
  head.keep_alive(false);
  http::response_serializer<http::empty_body> serializer(head);
  stream.expires_after(limit);
  error_code problem;
  co_await http::async_write_header(stream, serializer,
                                    asio::redirect_error(asio::use_awaitable, problem));
  bool over = static_cast<bool>(problem);
  while (!over && state->guest != nullptr) {
    const MigrationNews news = state->guest->migration();
    const bool sent = co_await write_line(stream, to_text(to_json(news)), limit);
    over = !sent || news.result.has_value();
    if (!over && state->guest != nullptr && state->guest->migration().revision == news.revision)
      co_await wait_for_news(state);
  }
  stream.expires_after(limit);
  co_await asio::async_write(stream, http::make_chunk_last(),
                             asio::redirect_error(asio::use_awaitable, problem));
}

ApiRequest request_of(const http::request<http::string_body>& message) {
  return {.method = message.method_string(),
          .target = message.target(),
          .accept = message[http::field::accept],
          .body = message.body()};
}

// Answers the request that `parser` holds. False ends the connection.
asio::awaitable<bool> serve(StatePointer state, Stream& stream, Parser& parser) {
  const Answering under_way(state);
  const bool keep_alive = parser.get().keep_alive() && !state->closing;
  if (state->guest == nullptr || state->closing) {
    co_await write_answer(stream,
                          error_answer(503, make_error(Errc::kPrecondition, "this VMM is ending")),
                          false, state->timeouts.request);
    co_return false;
  }
  ApiAnswer reply = answer(*state->guest, request_of(parser.get()));
  if (reply.stream) {
    co_await write_news(state, stream);
    co_return false;
  }
  const bool sent =
      co_await write_answer(stream, std::move(reply), keep_alive, state->timeouts.request);
  co_return sent&& keep_alive;
}

asio::awaitable<error_code> read_request(StatePointer state, Stream& stream,
                                         beast::flat_buffer& buffer, Parser& parser) {
  parser.header_limit(kMaxHeaderBytes);
  parser.body_limit(kMaxBodyBytes);
  error_code problem;
  // An idle connection may stay; one that has begun a request must get on with it.
  if (buffer.size() == 0) {
    stream.expires_after(state->timeouts.idle);
    const size_t first = co_await stream.async_read_some(
        buffer.prepare(1), asio::redirect_error(asio::use_awaitable, problem));
    if (problem) co_return http::error::end_of_stream;
    buffer.commit(first);
  }
  stream.expires_after(state->timeouts.request);
  co_await http::async_read(stream, buffer, parser,
                            asio::redirect_error(asio::use_awaitable, problem));
  co_return problem;
}

asio::awaitable<void> session(StatePointer state, Stream stream) {
  const Counted counted(state->connections);
  std::optional<ApiAnswer> refusal;
  if (!peer_is_owner(stream))
    refusal = error_answer(
        403, make_error(Errc::kPermission, "this guest belongs to user {}", ::geteuid()));
  else if (state->connections > kMaxConnections)
    refusal =
        error_answer(503, make_error(Errc::kExhausted, "{} connections are open already; close one",
                                     kMaxConnections));
  beast::flat_buffer buffer(kMaxHeaderBytes + kMaxBodyBytes);
  bool go_on = !refusal;
  while (go_on && !state->closing) {
    Parser parser;
    const error_code problem = co_await read_request(state, stream, buffer, parser);
    if (problem) {
      refusal = refusal_of(problem);
      break;
    }
    go_on = co_await serve(state, stream, parser);
  }
  if (refusal) co_await write_answer(stream, *refusal, false, std::chrono::seconds(1));
  error_code ignored;
  stream.socket().shutdown(asio::socket_base::shutdown_both, ignored);
}

}  // namespace

void start_session(StatePointer state, LocalSocket socket) {
  asio::co_spawn(state->context, session(state, Stream(std::move(socket))), asio::detached);
}

}  // namespace godwit::tools
