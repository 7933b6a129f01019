// Inside the client: HTTP on a Unix socket.
#pragma once
#include <boost/asio/awaitable.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/beast/core/basic_stream.hpp>
#include <boost/beast/http/message.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/json/object.hpp>
#include <filesystem>
#include <string>

#include "tools/godwit/api/client.h"

namespace godwit::tools {

using ClientStream = boost::beast::basic_stream<boost::asio::local::stream_protocol>;
using ClientRequest = boost::beast::http::request<boost::beast::http::string_body>;

ClientRequest make_request(bool put, std::string_view route, std::string body);

// Connects. Errors as ApiClient's.
boost::asio::awaitable<Result<>> connect_to(ClientStream& stream, const ApiClient& client,
                                            Nanoseconds limit);

// The answer's object, or the error that it carries.
Result<boost::json::object> read_answer(unsigned status, const std::string& body);

// What to say when the connection broke or timed out.
Error connection_error(const ApiClient& client, const boost::system::error_code& problem);

// One request, one answer.
boost::asio::awaitable<Result<boost::json::object>> exchange_message(ClientStream& stream,
                                                                     ApiClient client,
                                                                     ClientRequest request,
                                                                     Nanoseconds limit);

}  // namespace godwit::tools
