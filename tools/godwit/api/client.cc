#include "tools/godwit/api/client.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>
#include <boost/json.hpp>
#include <optional>

#include "tools/godwit/api/client_io.h"
#include "tools/godwit/api/messages.h"
#include "tools/godwit/api/routes.h"
#include "tools/godwit/text/json_text.h"

namespace godwit::tools {
namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
namespace json = boost::json;
using boost::system::error_code;

namespace {

constexpr uint64_t kMaxAnswerBytes = 16 << 20;

asio::awaitable<void> run_exchange(ClientStream& stream, ApiClient client, ClientRequest request,
                                   Nanoseconds limit, std::optional<Result<json::object>>& result) {
  if (const auto connected = co_await connect_to(stream, client, limit); !connected)
    result = connected.error();
  else
    result = co_await exchange_message(stream, client, std::move(request), limit);
}

}  // namespace

ClientRequest make_request(bool put, std::string_view route, std::string body) {
  ClientRequest request(put ? http::verb::put : http::verb::get,
                        fmt::format("{}{}", kApiPrefix, route), 11);
  request.set(http::field::host, "localhost");
  request.set(http::field::accept, "application/json");
  if (!body.empty()) request.set(http::field::content_type, "application/json");
  request.body() = std::move(body);
  request.prepare_payload();
  return request;
}

Error no_such_instance(std::string_view name, const std::filesystem::path& socket) {
  return make_error(
      Errc::kNotFound,
      "no instance '{}' is running (nothing listens at {}); `godwit list` shows those "
      "that are",
      name, socket.string());
}

asio::awaitable<Result<>> connect_to(ClientStream& stream, const ApiClient& client,
                                     Nanoseconds limit) {
  error_code problem;
  stream.expires_after(limit);
  co_await stream.async_connect(asio::local::stream_protocol::endpoint(client.socket().string()),
                                asio::redirect_error(asio::use_awaitable, problem));
  if (!problem) co_return Result<>();
  if (problem == asio::error::connection_refused || problem.value() == ENOENT)
    co_return no_such_instance(client.name(), client.socket());
  if (problem == asio::error::access_denied)
    co_return make_error(Errc::kPermission, "the instance '{}' belongs to another user ({})",
                         client.name(), client.socket().string());
  co_return connection_error(client, problem);
}

Error connection_error(const ApiClient& client, const error_code& problem) {
  if (problem == beast::error::timeout)
    return make_error(Errc::kTimeout, "the VMM of '{}' does not answer; is it stopped?",
                      client.name());
  return make_error(Errc::kIo, "lost the connection to the VMM of '{}': {}", client.name(),
                    problem.message());
}

Result<json::object> read_answer(unsigned status, const std::string& body) {
  if (status == 204) return json::object{};
  auto object = parse_object(body);
  if (!object)
    return make_error(Errc::kIo, "the VMM gave an answer that makes no sense (HTTP {}): {}", status,
                      object.error().message);
  if (status >= 400) return error_from_json(*object);
  return object;
}

asio::awaitable<Result<json::object>> exchange_message(ClientStream& stream, ApiClient client,
                                                       ClientRequest request, Nanoseconds limit) {
  error_code problem;
  stream.expires_after(limit);
  co_await http::async_write(stream, request, asio::redirect_error(asio::use_awaitable, problem));
  // A server that refuses answers without reading: its reason matters more than our broken pipe.
  beast::flat_buffer buffer;
  http::response_parser<http::string_body> parser;
  parser.body_limit(kMaxAnswerBytes);
  error_code read_problem;
  co_await http::async_read(stream, buffer, parser,
                            asio::redirect_error(asio::use_awaitable, read_problem));
  if (read_problem) co_return connection_error(client, problem ? problem : read_problem);
  co_return read_answer(parser.get().result_int(), parser.get().body());
}

Result<json::object> ApiClient::exchange(bool put, std::string_view route, std::string body) const {
  asio::io_context context(1);
  ClientStream stream(context);
  std::optional<Result<json::object>> result;
  asio::co_spawn(
      context,
      run_exchange(stream, *this, make_request(put, route, std::move(body)), timeout_, result),
      [](const std::exception_ptr& failure) {
        if (failure) std::rethrow_exception(failure);
      });
  context.run();
  return std::move(*result);
}

Result<json::object> ApiClient::get(std::string_view route) const {
  return exchange(false, route, {});
}

Result<json::object> ApiClient::put(std::string_view route) const {
  return exchange(true, route, {});
}

Result<json::object> ApiClient::put(std::string_view route, const json::object& body) const {
  return exchange(true, route, to_text(body));
}

}  // namespace godwit::tools
