// certs, version.
#include <fmt/core.h>

#include <boost/json.hpp>
#include <boost/version.hpp>
#include <charconv>
#include <memory>

#include "migration/transport/certs.h"
#include "tools/godwit/cli/commands.h"
#include "tools/godwit/cli/exit_status.h"
#include "tools/godwit/cli/options.h"
#include "tools/godwit/text/json_text.h"
#include "tools/godwit/version.h"

namespace godwit::tools {
namespace json = boost::json;
namespace {

struct CertsCommand {
  std::string directory;
  migration::CertificateOptions options;
  std::string ca_directory;
};

Result<int> parse_days(const std::string& text) {
  int days = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), days);
  if (problem != std::errc() || end != text.data() + text.size() || days < 1 ||
      days > migration::kMaxDays)
    return make_error(Errc::kInvalidArgument, "'{}' is no number of days: use 1 to {}", text,
                      migration::kMaxDays);
  return days;
}

int make_certs(CertsCommand& command) {
  command.options.ca_directory = command.ca_directory;
  const auto made = migration::make_certificates(command.directory, command.options);
  if (!made) {
    fmt::print(stderr, "godwit certs: {}\n", made.error().message);
    return kExitFailed;
  }
  for (const auto& file : made->files) fmt::print("{}\n", file.string());
  std::string hosts;
  for (const std::string& host : made->hosts) hosts += " " + host;
  fmt::print(stderr, "for the names{}\n", hosts);
  return kExitOk;
}

int show_version(bool as_json) {
  if (as_json)
    fmt::print("{}\n", to_text(json::object{{"name", "godwit"},
                                            {"version", kVersion},
                                            {"compiler", __VERSION__},
                                            {"boost", BOOST_LIB_VERSION}}));
  else
    fmt::print("godwit {}\n", kVersion);
  return kExitOk;
}

}  // namespace

void add_certs_command(CLI::App& app, Action& action) {
  auto state = std::make_shared<CertsCommand>();
  CLI::App& command = add_command(
      app, "certs", "make keys and certificates for migrations",
      "Makes what --tls-dir wants in DIR: ca-cert.pem and ca-key.pem (a certificate authority of "
      "your own, unless there is one already), and a host's server-cert.pem, server-key.pem, "
      "client-cert.pem and client-key.pem. The files' names are those of QEMU and libvirt. All "
      "hosts that exchange guests must trust the same ca-cert.pem; ca-key.pem can make new hosts "
      "and should not lie on any of them.\n"
      "\n"
      "The names of the files made are printed on stdout.",
      R"(
EXAMPLES
       One directory for two hosts, copied to both:
           godwit certs ~/godwit-tls --host host1 --host host2

       A directory for each host, with one authority kept apart:
           godwit certs ~/ca
           godwit certs ~/host1-tls --ca ~/ca --host host1 --host 10.0.0.1

EXIT STATUS
       0  done
       1  failed, and nothing was written; stderr says why
       2  the command line is wrong
)");
  command.add_option("DIR", state->directory, "Where to write; made with mode 0700 if missing.")
      ->required()
      ->type_name("");
  command
      .add_option("--host", state->options.hosts,
                  "A DNS name or IP address under which others reach this host. May be given "
                  "several times. Without it: this host's names and addresses, and localhost.")
      ->type_name("NAME")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  add_parsed(command, "--days", state->options.days, parse_days, "N",
             fmt::format("{}", state->options.days), "How long the host's certificates are valid.");
  add_text(command, "--ca", state->ca_directory, "DIR",
           "The authority to sign with: a directory with ca-cert.pem and ca-key.pem. Without it "
           "the one in DIR, made if missing.");
  command.add_flag(
      "--force", state->options.overwrite,
      "Replaces a host's keys and certificates in DIR; an authority is never replaced.");
  command.callback([&action, state] { action = [state] { return make_certs(*state); }; });
}

void add_version_command(CLI::App& app, Action& action) {
  auto as_json = std::make_shared<bool>(false);
  CLI::App& command = add_command(app, "version", "show the version", "Shows the version.",
                                  "\nEXIT STATUS\n       0  done\n");
  command.add_flag("--json", *as_json, "One JSON object, with what it was built from.");
  command.callback([&action, as_json] { action = [as_json] { return show_version(*as_json); }; });
}

}  // namespace godwit::tools
