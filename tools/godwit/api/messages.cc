#include "tools/godwit/api/messages.h"

#include <algorithm>

#include "tools/godwit/api/names.h"
#include "tools/godwit/report/json_archive.h"
#include "tools/godwit/report/migration_json.h"

namespace godwit::tools {
namespace json = boost::json;
using migration::Compression;
using migration::MigrationParameters;
using migration::OnNoConverge;

namespace {

constexpr Names<GuestState, 6> kStates{{{GuestState::kReceiving, "receiving"},
                                        {GuestState::kRunning, "running"},
                                        {GuestState::kPaused, "paused"},
                                        {GuestState::kMigrated, "migrated"},
                                        {GuestState::kUnknownOutcome, "unknown"},
                                        {GuestState::kShutDown, "shutdown"}}};
constexpr Names<Compression, 3> kCompressions{
    {{Compression::kAuto, "auto"}, {Compression::kNone, "none"}, {Compression::kLz4, "lz4"}}};
constexpr Names<OnNoConverge, 3> kActions{{{OnNoConverge::kWait, "wait"},
                                           {OnNoConverge::kSwitchover, "switchover"},
                                           {OnNoConverge::kCancel, "cancel"}}};

template <class Archive>
void info_fields(Archive& archive, GuestInfo& info) {
  uint64_t pid = static_cast<uint64_t>(info.pid);
  std::string state(state_name(info.state));
  archive.value("name", info.name);
  archive.value("pid", pid);
  archive.value("state", state);
  archive.value("vcpus", info.vcpus);
  archive.value("memory", info.memory.value);
  archive.value("kernel", info.kernel);
  archive.value("console", info.console);
  archive.value("dirty-tracking", info.dirty_tracking);
  archive.value("listen", info.listen);
  archive.value("uptime", info.uptime);
  archive.optional_object("balloon", info.balloon, [](auto& inner, BalloonInfo& balloon) {
    inner.value("target", balloon.target.value);
    inner.value("actual", balloon.actual.value);
    inner.optional("free", balloon.free);
    inner.optional("available", balloon.available);
  });
  archive.array("disks", info.disks, [](auto& inner, DiskInfo& disk) {
    inner.value("id", disk.id);
    inner.value("source", disk.source);
    inner.value("size", disk.size.value);
    inner.value("read-only", disk.read_only);
    inner.value("requests", disk.requests);
    inner.value("failed-requests", disk.failed);
  });
  archive.array("networks", info.networks, [](auto& inner, NetworkInfo& network) {
    inner.value("id", network.id);
    inner.value("interface", network.interface);
    inner.value("mac", network.mac);
    inner.value("sent-frames", network.sent_frames);
    inner.value("sent-bytes", network.sent_bytes);
    inner.value("received-frames", network.received_frames);
    inner.value("received-bytes", network.received_bytes);
    inner.value("dropped-frames", network.dropped_frames);
  });
  if constexpr (Archive::kReads) {
    info.pid = static_cast<pid_t>(pid);
    if (auto parsed = parse_name(kStates, state, "state")) info.state = *parsed;
  }
}

// `problem` takes the first name that cannot be read.
template <class Archive, class T, size_t N>
void name_field(Archive& archive, std::string_view key, const Names<T, N>& names, T& value,
                std::optional<Error>& problem) {
  std::string text(name_of(names, value));
  archive.value(key, text);
  if constexpr (Archive::kReads) {
    auto parsed = parse_name(names, text, std::string("value of '").append(key) + "'");
    if (parsed)
      value = *parsed;
    else if (!problem)
      problem = parsed.error();
  }
}

template <class Archive>
void request_fields(Archive& archive, MigrationRequest& r, std::optional<Error>& problem) {
  MigrationParameters& p = r.parameters;
  archive.value("destination", r.destination);
  archive.value("tls-dir", r.tls_dir);
  archive.value("plaintext", r.plaintext);
  archive.value("downtime-limit", p.downtime_limit);
  archive.value("max-bandwidth", p.max_bandwidth_bytes_per_second);
  archive.value("multifd-channels", p.multifd_channels);
  name_field(archive, "compression", kCompressions, p.compression, problem);
  name_field(archive, "on-no-converge", kActions, p.on_no_converge, problem);
  archive.value("converge-timeout", p.converge_timeout);
  archive.value("timeout", p.timeout);
  archive.value("connect-timeout", p.connect_timeout);
  archive.value("io-timeout", p.io_timeout);
  archive.value("copy-storage", p.copy_storage);
  archive.value("verify", p.verify);
}

// The fields that a complete request has are those that may be there.
Result<> refuse_unknown_fields(const json::object& object) {
  const json::object known = to_json(MigrationRequest{});
  for (const auto& [key, value] : object)
    if (!known.contains(key))
      return make_error(Errc::kInvalidArgument, "unknown field '{}' in the migration request",
                        std::string_view(key.data(), std::min<size_t>(key.size(), 60)));
  return {};
}

}  // namespace

std::string_view state_name(GuestState state) {
  return name_of(kStates, state);
}
std::string_view compression_name(Compression compression) {
  return name_of(kCompressions, compression);
}
Result<Compression> parse_compression(std::string_view text) {
  return parse_name(kCompressions, text, "compression");
}
std::string_view on_no_converge_name(OnNoConverge action) {
  return name_of(kActions, action);
}
Result<OnNoConverge> parse_on_no_converge(std::string_view text) {
  return parse_name(kActions, text, "action for a guest that does not converge");
}

json::object to_json(const GuestInfo& info, const MigrationNews& news) {
  json::object object;
  JsonWriter archive(object);
  GuestInfo copy = info;
  info_fields(archive, copy);
  object["migration"] = json::object{{"status", migration::status_name(news.progress.status)}};
  return object;
}

Result<GuestInfo> guest_info_from_json(const json::object& object) {
  std::optional<Error> error;
  JsonReader archive(object, error);
  GuestInfo info;
  info_fields(archive, info);
  if (error) return *error;
  return info;
}

json::object to_json(const MigrationRequest& request) {
  json::object object;
  JsonWriter archive(object);
  MigrationRequest copy = request;
  std::optional<Error> problem;
  request_fields(archive, copy, problem);
  return object;
}

Result<MigrationRequest> migration_request_from_json(const json::object& object) {
  GODWIT_TRY(refuse_unknown_fields(object));
  std::optional<Error> error, problem;
  JsonReader archive(object, error);
  MigrationRequest request;
  request_fields(archive, request, problem);
  if (error) return Error{Errc::kInvalidArgument, error->message};
  if (problem) return *problem;
  if (request.destination.empty())
    return make_error(Errc::kInvalidArgument, "the migration request has no 'destination'");
  if (request.plaintext == !request.tls_dir.empty())
    return make_error(Errc::kInvalidArgument,
                      "the migration request needs either 'tls-dir' or 'plaintext': true");
  GODWIT_TRY(check_parameters(request.parameters));
  return request;
}

json::object to_json(const MigrationNews& news) {
  return news.result ? to_json(*news.result) : to_json(news.progress);
}

json::object to_json(const Error& error) {
  return {{"error", json::object{{"code", errc_name(error.code)}, {"message", error.message}}}};
}

Error error_from_json(const json::object& object) {
  const auto* inner = object.if_contains("error");
  const auto* message =
      inner != nullptr && inner->is_object() ? inner->get_object().if_contains("message") : nullptr;
  if (message == nullptr || !message->is_string())
    return make_error(Errc::kIo, "the VMM answered with an error it did not describe");
  std::string code;
  if (const auto* name = inner->get_object().if_contains("code"); name && name->is_string())
    code = std::string(name->get_string());
  return Error{errc_from_name(code), std::string(message->get_string())};
}

Result<> check_parameters(const MigrationParameters& p) {
  using std::chrono::seconds;
  if (p.multifd_channels < 1 || p.multifd_channels > migration::kMaxChannels)
    return make_error(Errc::kInvalidArgument, "multifd-channels must be 1 to {}, not {}",
                      migration::kMaxChannels, p.multifd_channels);
  if (p.downtime_limit.count() < 0 || p.downtime_limit > seconds(2000))
    return make_error(Errc::kInvalidArgument, "downtime-limit must be 0 to 2000 s, not {} ms",
                      to_ms(p.downtime_limit));
  for (const auto& [name, value] :
       {std::pair{"converge-timeout", p.converge_timeout}, std::pair{"timeout", p.timeout}})
    if (value.count() < 0)
      return make_error(Errc::kInvalidArgument, "{} must not be negative", name);
  for (const auto& [name, value] :
       {std::pair{"connect-timeout", p.connect_timeout}, std::pair{"io-timeout", p.io_timeout}})
    if (value <= Nanoseconds(0))
      return make_error(Errc::kInvalidArgument, "{} must be more than 0", name);
  return {};
}

}  // namespace godwit::tools
