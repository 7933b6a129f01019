#include "tools/godwit/api/routes.h"

#include <array>
#include <boost/json.hpp>

#include "tools/godwit/api/messages.h"
#include "tools/godwit/text/json_text.h"
#include "tools/godwit/version.h"

namespace godwit::tools {
namespace json = boost::json;
namespace {

unsigned http_status(Errc code) {
  switch (code) {
    case Errc::kInvalidArgument:
      return 400;
    case Errc::kPermission:
      return 403;
    case Errc::kNotFound:
      return 404;
    case Errc::kAlreadyExists:
    case Errc::kIncompatible:
    case Errc::kPrecondition:
    case Errc::kCancelled:
    case Errc::kUnknownOutcome:
      return 409;
    case Errc::kUnsupported:
      return 501;
    case Errc::kExhausted:
      return 503;
    case Errc::kTimeout:
      return 504;
    default:
      return 500;
  }
}

ApiAnswer error_answer(const Error& error) {
  return tools::error_answer(http_status(error.code), error);
}

ApiAnswer json_answer(const json::object& object) {
  return {.status = 200, .body = to_text(object)};
}

ApiAnswer empty_answer(const Result<>& result) {
  if (!result) return error_answer(result.error());
  return {.status = 204};
}

// An empty body is an empty object.
Result<json::object> body_of(const ApiRequest& request) {
  if (request.body.empty()) return json::object{};
  return parse_object(request.body);
}

Result<> expect_no_body(const ApiRequest& request) {
  GODWIT_ASSIGN(const json::object body, body_of(request));
  if (body.empty()) return {};
  return make_error(Errc::kInvalidArgument, "{} takes no fields", request.target);
}

ApiAnswer ping(Guest& guest, const ApiRequest&) {
  const GuestInfo info = guest.info();
  return json_answer({{"name", info.name}, {"pid", info.pid}, {"version", kVersion}});
}

ApiAnswer info(Guest& guest, const ApiRequest&) {
  return json_answer(to_json(guest.info(), guest.migration()));
}

ApiAnswer pause(Guest& guest, const ApiRequest& request) {
  if (const auto body = expect_no_body(request); !body) return error_answer(body.error());
  return empty_answer(guest.pause());
}

Result<bool> fenced_of(const ApiRequest& request) {
  GODWIT_ASSIGN(const json::object body, body_of(request));
  bool fenced = false;
  for (const auto& [key, value] : body) {
    if (key != "fenced" || !value.is_bool())
      return make_error(Errc::kInvalidArgument,
                        "vm.resume takes one field: 'fenced', true or false");
    fenced = value.get_bool();
  }
  return fenced;
}

ApiAnswer resume(Guest& guest, const ApiRequest& request) {
  const auto fenced = fenced_of(request);
  if (!fenced) return error_answer(fenced.error());
  return empty_answer(guest.resume(*fenced));
}

ApiAnswer press_power_button(Guest& guest, const ApiRequest& request) {
  if (const auto body = expect_no_body(request); !body) return error_answer(body.error());
  return empty_answer(guest.press_power_button());
}

ApiAnswer shut_down(Guest& guest, const ApiRequest& request) {
  if (const auto body = expect_no_body(request); !body) return error_answer(body.error());
  return empty_answer(guest.shut_down());
}

Result<ByteCount> size_of(const ApiRequest& request) {
  GODWIT_ASSIGN(const json::object body, body_of(request));
  const json::value* const size = body.if_contains("size");
  boost::system::error_code problem;
  const uint64_t bytes = size != nullptr ? size->to_number<uint64_t>(problem) : 0;
  if (size == nullptr || problem || body.size() != 1)
    return make_error(Errc::kInvalidArgument,
                      "vm.resize-balloon takes one field: 'size', a whole number of bytes");
  return ByteCount{bytes};
}

ApiAnswer resize_balloon(Guest& guest, const ApiRequest& request) {
  const auto size = size_of(request);
  if (!size) return error_answer(size.error());
  return empty_answer(guest.resize_balloon(*size));
}

ApiAnswer send_migration(Guest& guest, const ApiRequest& request) {
  const auto body = body_of(request);
  if (!body) return error_answer(body.error());
  const auto wanted = migration_request_from_json(*body);
  if (!wanted) return error_answer(wanted.error());
  if (const auto started = guest.send_migration(*wanted); !started)
    return error_answer(started.error());
  if (request.accept.find(kNdjson) != std::string::npos) return {.status = 200, .stream = true};
  return {.status = 202, .body = to_text(to_json(guest.migration()))};
}

ApiAnswer cancel_migration(Guest& guest, const ApiRequest& request) {
  if (const auto body = expect_no_body(request); !body) return error_answer(body.error());
  return empty_answer(guest.cancel_migration());
}

ApiAnswer migration_status(Guest& guest, const ApiRequest&) {
  return json_answer(to_json(guest.migration()));
}

constexpr std::array<ApiRoute, 10> kRoutes{{{"GET", "vmm.ping"},
                                            {"GET", "vm.info"},
                                            {"PUT", "vm.pause"},
                                            {"PUT", "vm.resume"},
                                            {"PUT", "vm.power-button"},
                                            {"PUT", "vm.shutdown"},
                                            {"PUT", "vm.resize-balloon"},
                                            {"PUT", "vm.send-migration"},
                                            {"PUT", "vm.cancel-migration"},
                                            {"GET", "vm.migration"}}};
using Handler = ApiAnswer (*)(Guest&, const ApiRequest&);
constexpr std::array<Handler, kRoutes.size()> kHandlers{
    ping,      info,           pause,          resume,           press_power_button,
    shut_down, resize_balloon, send_migration, cancel_migration, migration_status};

}  // namespace

std::span<const ApiRoute> api_routes() {
  return kRoutes;
}

ApiAnswer error_answer(unsigned status, const Error& error) {
  return {.status = status, .body = to_text(to_json(error))};
}

ApiAnswer answer(Guest& guest, const ApiRequest& request) {
  if (request.target.starts_with(kApiPrefix)) {
    const auto path = std::string_view(request.target).substr(kApiPrefix.size());
    for (size_t i = 0; i < kRoutes.size(); ++i) {
      if (kRoutes[i].path != path) continue;
      if (kRoutes[i].method == request.method) return kHandlers[i](guest, request);
      ApiAnswer refusal = tools::error_answer(
          405, make_error(Errc::kInvalidArgument, "{} is answered to {}, not to {}", request.target,
                          kRoutes[i].method, request.method));
      refusal.allow = kRoutes[i].method;
      return refusal;
    }
  }
  return error_answer(make_error(Errc::kNotFound, "there is no {} here; openapi.json lists what is",
                                 request.target.substr(0, 100)));
}

}  // namespace godwit::tools
