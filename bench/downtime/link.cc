#include "bench/downtime/link.h"

#include <unistd.h>

#include <sstream>

#include "bench/child_process.h"

namespace godwit::bench {
namespace {

constexpr auto kPatience = std::chrono::seconds(10);

// Words separated by blanks.
Result<void> run_words(const std::string& words) {
  ChildOptions options;
  std::istringstream stream(words);
  for (std::string word; stream >> word;) options.command.push_back(word);
  GODWIT_ASSIGN(ChildProcess child, ChildProcess::start(options));
  GODWIT_ASSIGN(const int status, child.wait_exit(kPatience));
  if (status == 0) return {};
  return make_error(Errc::kUnsupported, "`{}` failed with status {}", words, status);
}

}  // namespace

ShapedLink::ShapedLink() : stem_(fmt::format("godwit-bench-{}", ::getpid())) {}

std::vector<std::string> ShapedLink::prefix(const char* side) const {
  return {"ip", "netns", "exec", stem_ + side};
}

Result<std::unique_ptr<ShapedLink>> ShapedLink::create() {
  if (::geteuid() != 0) {
    return make_error(Errc::kUnsupported, "a shaped link needs root for its network namespaces");
  }
  for (const char* program : {"ip", "tc"}) {
    if (!have_program(program)) {
      return make_error(Errc::kUnsupported, "a shaped link needs {} (Debian package iproute2)",
                        program);
    }
  }
  std::unique_ptr<ShapedLink> link(new ShapedLink());
  GODWIT_TRY(link->set_up());
  return link;
}

Result<void> ShapedLink::set_up() {
  const std::string s = stem_ + "s";
  const std::string t = stem_ + "t";
  GODWIT_TRY(run_words("ip netns add " + s));
  GODWIT_TRY(run_words("ip netns add " + t));
  GODWIT_TRY(run_words(
      fmt::format("ip link add veth0 netns {} type veth peer name veth0 netns {}", s, t)));
  bool delay = true;
  for (const auto& [side, address] :
       {std::pair(s, std::string("10.213.77.1")), std::pair(t, target_address())}) {
    GODWIT_TRY(run_words(fmt::format("ip -n {} addr add {}/24 dev veth0", side, address)));
    GODWIT_TRY(run_words(fmt::format("ip -n {} link set veth0 up", side)));
    GODWIT_TRY(run_words(fmt::format("ip -n {} link set lo up", side)));
    GODWIT_TRY(run_words(fmt::format(
        "tc -n {} qdisc add dev veth0 root handle 1: tbf rate 1gbit burst 256kb latency 20ms",
        side)));
    delay =
        delay &&
        run_words(fmt::format("tc -n {} qdisc add dev veth0 parent 1:1 netem delay 250us", side))
            .has_value();
  }
  description_ = delay ? "veth, 1 Gbit/s (tbf), 0.25 ms of delay each way (netem)"
                       : "veth, 1 Gbit/s (tbf), no delay (this kernel has no netem)";
  return {};
}

ShapedLink::~ShapedLink() {
  // The veth pair goes with its namespaces.
  (void)run_words("ip netns del " + stem_ + "s");
  (void)run_words("ip netns del " + stem_ + "t");
}

}  // namespace godwit::bench
