#include "tests/e2e/link.h"

#include <fmt/core.h>
#include <unistd.h>

#include <cstdlib>

namespace godwit::e2e {

Link::Link()
    : left_(fmt::format("godwit-e2e-{}-l", ::getpid())),
      right_(fmt::format("godwit-e2e-{}-r", ::getpid())) {
  const bool made =
      ip("netns add " + left_) && ip("netns add " + right_) &&
      ip(fmt::format("-n {} link add cable type veth peer name cable netns {}", left_, right_)) &&
      ip(fmt::format("-n {} address add 10.203.0.1/24 dev cable", left_)) &&
      ip(fmt::format("-n {} address add {}/24 dev cable", right_, kRightAddress)) &&
      ip(fmt::format("-n {} link set cable up", left_)) &&
      ip(fmt::format("-n {} link set cable up", right_)) &&
      ip(fmt::format("-n {} link set lo up", left_)) &&
      ip(fmt::format("-n {} link set lo up", right_));
  if (!made) why_ = "no network namespaces can be made here: that takes root and iproute2";
}

Link::~Link() {
  ip("netns delete " + left_);
  ip("netns delete " + right_);
}

void Link::pull() {
  ip(fmt::format("-n {} link set cable down", right_));
}

bool Link::ip(const std::string& arguments) {
  const std::string command = "ip " + arguments + " >/dev/null 2>&1";
  return std::system(command.c_str()) == 0;  // NOLINT(concurrency-mt-unsafe): one thread
}

}  // namespace godwit::e2e
