// What each request of the API means, without the HTTP around it. openapi.json describes it, and a
// test holds the two against each other.
#pragma once
#include <span>
#include <string>
#include <string_view>

#include "tools/godwit/api/guest.h"

namespace godwit::tools {

inline constexpr std::string_view kApiPrefix = "/api/v1/";
inline constexpr std::string_view kNdjson = "application/x-ndjson";

struct ApiRequest {
  std::string method;  // "GET", "PUT"
  std::string target;  // "/api/v1/vm.info"
  std::string accept;  // the Accept header
  std::string body;
};

struct ApiAnswer {
  unsigned status = 200;
  std::string body;     // JSON text; empty with 204
  std::string allow;    // with 405: the methods that the path has
  bool stream = false;  // instead of a body: the news of the migration until it is over
};

struct ApiRoute {
  std::string_view method;
  std::string_view path;  // without the prefix
};
std::span<const ApiRoute> api_routes();

// Threads: the guest's. Never throws: what goes wrong is an answer.
ApiAnswer answer(Guest& guest, const ApiRequest& request);

ApiAnswer error_answer(unsigned status, const Error& error);

}  // namespace godwit::tools
