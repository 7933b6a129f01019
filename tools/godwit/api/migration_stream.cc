#include "tools/godwit/api/migration_stream.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>
#include <boost/json.hpp>
#include <csignal>

#include "tools/godwit/api/client_io.h"
#include "tools/godwit/api/messages.h"
#include "tools/godwit/api/routes.h"
#include "tools/godwit/report/migration_json.h"
#include "tools/godwit/text/json_text.h"

namespace godwit::tools {
namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
namespace json = boost::json;
using boost::system::error_code;

namespace {

// A VMM that sends nothing for so long is gone: its heartbeat comes every second.
constexpr Nanoseconds kSilenceLimit = std::chrono::seconds(30);
constexpr Nanoseconds kStartLimit = std::chrono::seconds(30);
constexpr size_t kMaxLineBytes = 8 << 20;

class Follower {
 public:
  Follower(const ApiClient& client, const StreamHandlers& handlers)
      : client_(client), handlers_(handlers) {}

  Result<StreamOutcome> run(const MigrationRequest& request) {
    for (const int number : {SIGINT, SIGTERM, SIGHUP}) signals_.add(number);
    wait_for_signal();
    ClientRequest message = make_request(true, "vm.send-migration", to_text(to_json(request)));
    message.set(http::field::accept, kNdjson);
    asio::co_spawn(context_, follow(std::move(message)), [this](const std::exception_ptr& failure) {
      if (failure) std::rethrow_exception(failure);
      context_.stop();
    });
    context_.run();
    if (error_) return *error_;
    return outcome_;
  }

 private:
  asio::awaitable<void> follow(ClientRequest request) {
    if (const auto connected = co_await connect_to(stream_, client_, kStartLimit); !connected) {
      error_ = connected.error();
      co_return;
    }
    error_code problem;
    co_await http::async_write(stream_, request,
                               asio::redirect_error(asio::use_awaitable, problem));
    beast::flat_buffer buffer;
    http::response_parser<http::string_body> parser;
    parser.body_limit(boost::none);
    if (!problem)
      co_await http::async_read_header(stream_, buffer, parser,
                                       asio::redirect_error(asio::use_awaitable, problem));
    if (problem)
      error_ = connection_error(client_, problem);
    else if (parser.get()[http::field::content_type] != kNdjson)
      co_await read_refusal(buffer, parser);
    else
      co_await read_lines(buffer, parser);
  }

  asio::awaitable<void> read_refusal(beast::flat_buffer& buffer,
                                     http::response_parser<http::string_body>& parser) {
    error_code problem;
    co_await http::async_read(stream_, buffer, parser,
                              asio::redirect_error(asio::use_awaitable, problem));
    if (problem) {
      error_ = connection_error(client_, problem);
      co_return;
    }
    const auto answer = read_answer(parser.get().result_int(), parser.get().body());
    error_ = answer ? make_error(Errc::kIo, "the VMM of '{}' gave no stream", client_.name())
                    : answer.error();
  }

  asio::awaitable<void> read_lines(beast::flat_buffer& buffer,
                                   http::response_parser<http::string_body>& parser) {
    error_code problem;
    while (!outcome_.result && !error_ && !problem) {
      take_lines(parser.get().body());
      if (outcome_.result || error_ || parser.is_done()) break;
      stream_.expires_after(kSilenceLimit);
      co_await http::async_read_some(stream_, buffer, parser,
                                     asio::redirect_error(asio::use_awaitable, problem));
    }
    take_lines(parser.get().body());
    if (!outcome_.result && !error_) error_ = lost(problem);
  }

  Error lost(const error_code& problem) {
    return make_error(
        Errc::kUnknownOutcome,
        "lost the VMM of '{}' during the migration ({}): the guest may run at the "
        "target, here, or nowhere; ask both hosts with `godwit info`",
        client_.name(),
        problem == beast::error::timeout ? "it says nothing any more" : "it closed the connection");
  }

  // Handles and removes the complete lines.
  void take_lines(std::string& text) {
    size_t begin = 0;
    for (size_t end = text.find('\n'); end != std::string::npos && !outcome_.result && !error_;
         end = text.find('\n', begin)) {
      take_line(std::string_view(text).substr(begin, end - begin));
      begin = end + 1;
    }
    text.erase(0, begin);
    if (text.size() > kMaxLineBytes && !error_)
      error_ =
          make_error(Errc::kCorrupt, "the VMM of '{}' sends a line without an end", client_.name());
  }

  void take_line(std::string_view line) {
    const auto object = parse_object(line);
    const auto progress = object ? progress_from_json(*object) : object.error();
    if (!progress) {
      error_ = progress.error().with_context("the VMM's report of its migration");
      return;
    }
    if (!migration::is_final(progress->status)) {
      if (handlers_.on_progress) handlers_.on_progress(*progress);
      return;
    }
    const auto result = result_from_json(*object);
    if (result)
      outcome_.result = *result;
    else
      error_ = result.error().with_context("the VMM's report of its migration");
  }

  void wait_for_signal() {
    signals_.async_wait([this](error_code problem, int number) {
      if (problem) return;
      if (outcome_.interrupted || number == SIGHUP) {
        outcome_.end = StreamEnd::kDetached;
        context_.stop();
        return;
      }
      outcome_.interrupted = true;
      notify("cancelling the migration; interrupt once more to leave it to the VMM");
      asio::co_spawn(context_, cancel(), asio::detached);
      wait_for_signal();
    });
  }

  asio::awaitable<void> cancel() {
    ClientStream stream(context_);
    const auto connected = co_await connect_to(stream, client_, kStartLimit);
    if (!connected) {
      notify("cannot cancel: " + connected.error().message);
      co_return;
    }
    ClientRequest request = make_request(true, "vm.cancel-migration", {});
    const auto answer = co_await exchange_message(stream, client_, std::move(request), kStartLimit);
    if (!answer) notify("cannot cancel: " + answer.error().message);
  }

  void notify(const std::string& text) {
    if (handlers_.on_notice) handlers_.on_notice(text);
  }

  const ApiClient& client_;
  const StreamHandlers& handlers_;
  asio::io_context context_{1};
  asio::signal_set signals_{context_};
  ClientStream stream_{context_};
  StreamOutcome outcome_;
  std::optional<Error> error_;
};

}  // namespace

Result<StreamOutcome> follow_migration(const ApiClient& client, const MigrationRequest& request,
                                       const StreamHandlers& handlers) {
  return Follower(client, handlers).run(request);
}

}  // namespace godwit::tools
