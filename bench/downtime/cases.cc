#include "bench/downtime/cases.h"

#include <fmt/format.h>

#include <array>
#include <utility>

namespace godwit::bench {
namespace {

struct Workload {
  const char* name;
  const char* command_line;
  bool writes;
  bool throttle;
};

constexpr Workload kIdleRandom{"idle-random", "rate=0 ws=0 fill=all content=random", false, false};
constexpr Workload kIdleCompress{"idle-compress", "rate=0 ws=0 fill=all content=compress", false,
                                 false};
// Never halts: gaps are seen to 50 ns, but it takes a CPU from the migration.
constexpr Workload kIdleSpin{"idle-spin", "rate=0 ws=0 fill=all content=random spin=1", false,
                             false};
constexpr Workload kPaced{"paced", "rate=20000 ws=256M fill=all content=random", true, false};
constexpr Workload kFast{"fast", "rate=100000 ws=256M fill=all content=random", true, true};
constexpr Workload kUnlimited{"unlimited", "rate=max ws=512M fill=all content=random", true, true};
constexpr Workload kUntouched{"untouched", "rate=1000 ws=64M content=random", true, false};

std::string size_text(ByteCount size) {
  return size.value % (1_GiB).value == 0 ? fmt::format("{}G", size.value >> 30)
                                         : fmt::format("{}M", size.value >> 20);
}

Case make_case(const Workload& workload, ByteCount memory, Link link, unsigned channels) {
  Case c;
  c.name =
      fmt::format("{}-{}/{}/{}ch", workload.name, size_text(memory), link_name(link), channels);
  c.memory = memory;
  // A halted guest wakes each 0.5 ms, so that a pause of that length is seen.
  c.workload = fmt::format("{} tick_us=500 sweep=200 report=0 cpus=1", workload.command_line);
  c.writes = workload.writes;
  c.throttle = workload.throttle;
  // Memory that was never touched is what the untouched guest is about.
  c.preallocate = std::string_view(workload.name) != kUntouched.name;
  c.link = link;
  c.channels = channels;
  if (workload.throttle) c.time_limit = std::chrono::seconds(20);
  if (memory > 8_GiB) c.time_limit = std::chrono::minutes(3);
  return c;
}

constexpr std::array<std::pair<Contestant, std::string_view>, 4> kContestants{{
    {Contestant::kGodwit, "godwit"},
    {Contestant::kQemu, "qemu"},
    {Contestant::kGodwit10ms, "godwit-10ms"},
    {Contestant::kQemuDefault, "qemu-default"},
}};

}  // namespace

std::string_view link_name(Link link) {
  switch (link) {
    case Link::kPlain:
      return "plain";
    case Link::kTls:
      return "tls";
    case Link::kShaped:
      return "1gbit";
  }
  return "?";
}

std::string_view contestant_name(Contestant contestant) {
  for (const auto& [value, name] : kContestants)
    if (value == contestant) return name;
  return "?";
}

std::optional<Contestant> contestant_from_name(std::string_view name) {
  for (const auto& [value, known] : kContestants)
    if (known == name) return value;
  return std::nullopt;
}

bool is_qemu(Contestant contestant) {
  return contestant == Contestant::kQemu || contestant == Contestant::kQemuDefault;
}

std::string_view contestant_settings(Contestant contestant) {
  switch (contestant) {
    case Contestant::kGodwit:
      return "godwit as it comes (downtime limit 50 ms), with the case's channels";
    case Contestant::kGodwit10ms:
      return "godwit --downtime-limit 10ms, with the case's channels";
    case Contestant::kQemu:
      return "QEMU at its best: downtime-limit 10 ms, no bandwidth limit, multifd for 2 channels "
             "and more, auto-converge where the guest writes faster than it can be sent";
    case Contestant::kQemuDefault:
      return "QEMU as it comes: downtime-limit 300 ms, 128 MiB/s, one connection";
  }
  return "?";
}

std::vector<Case> all_cases() {
  std::vector<Case> cases;
  for (const Workload& workload : {kIdleRandom, kIdleCompress, kPaced, kFast, kUnlimited})
    for (const Link link : {Link::kPlain, Link::kTls})
      for (const unsigned channels : {1U, 2U})
        cases.push_back(make_case(workload, 1_GiB, link, channels));
  for (const Link link : {Link::kPlain, Link::kTls}) {
    cases.push_back(make_case(kIdleSpin, 1_GiB, link, 2));
    for (const unsigned channels : {1U, 2U})
      cases.push_back(make_case(kUntouched, 16_GiB, link, channels));
    for (const ByteCount memory : {256_MiB, 4_GiB})
      cases.push_back(make_case(kIdleRandom, memory, link, 2));
  }
  for (const Workload& workload : {kIdleRandom, kIdleCompress, kPaced})
    cases.push_back(make_case(workload, 512_MiB, Link::kShaped, 1));
  return cases;
}

std::vector<Case> quick_cases() {
  Case c = make_case(kPaced, 64_MiB, Link::kPlain, 2);
  c.workload = "rate=2000 ws=16M fill=16M tick_us=500 report=0 cpus=1";
  c.time_limit = std::chrono::seconds(10);
  return {c};
}

}  // namespace godwit::bench
