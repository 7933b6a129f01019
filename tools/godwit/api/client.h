// Talks to the VMM of one instance.
#pragma once
#include <boost/json/fwd.hpp>
#include <filesystem>
#include <string>
#include <string_view>

#include "vmm/base/clock.h"
#include "vmm/base/error.h"

namespace godwit::tools {

class ApiClient {
 public:
  // `name` is for messages.
  ApiClient(std::string name, std::filesystem::path socket)
      : name_(std::move(name)), socket_(std::move(socket)) {}

  // One request with its answer, an empty object when there is none (204). `route` is without the
  // prefix: "vm.info". Errors: the VMM's own; kNotFound when no VMM listens there; kIo, kTimeout
  // when it does not answer.
  Result<boost::json::object> get(std::string_view route) const;
  Result<boost::json::object> put(std::string_view route) const;
  Result<boost::json::object> put(std::string_view route, const boost::json::object& body) const;

  void set_timeout(Nanoseconds timeout) { timeout_ = timeout; }
  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] const std::filesystem::path& socket() const { return socket_; }

 private:
  Result<boost::json::object> exchange(bool put, std::string_view route, std::string body) const;
  std::string name_;
  std::filesystem::path socket_;
  Nanoseconds timeout_ = std::chrono::seconds(30);
};

// No VMM listens at the socket of `name`.
Error no_such_instance(std::string_view name, const std::filesystem::path& socket);

}  // namespace godwit::tools
