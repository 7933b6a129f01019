// balloon.
#include <boost/json.hpp>
#include <memory>

#include "tools/godwit/cli/commands.h"
#include "tools/godwit/cli/exit_status.h"
#include "tools/godwit/cli/instances.h"
#include "tools/godwit/cli/options.h"
#include "tools/godwit/text/units.h"

namespace godwit::tools {
namespace {

struct BalloonCommand {
  std::string name;
  ByteCount size;
};

int resize(const BalloonCommand& command) {
  const auto client = find_instance(command.name);
  if (!client) return report_error(client.error());
  const auto answer = client->put("vm.resize-balloon", {{"size", command.size.value}});
  return answer ? static_cast<int>(kExitOk) : report_error(answer.error());
}

}  // namespace

void add_balloon_command(CLI::App& app, Action& action) {
  auto state = std::make_shared<BalloonCommand>();
  CLI::App& command = add_command(
      app, "balloon", "ask a guest for memory back",
      "Asks a guest that was started with --balloon to get along with SIZE of its memory; what it "
      "gives up goes back to the host. SIZE may be as much as it has (all is its own again) and "
      "not less than 16M. Returns when the guest has been asked: it gives memory up as it can, and "
      "takes some back when it runs out; `godwit info` shows how far it has got. The size asked "
      "for moves with the guest.",
      R"(
EXAMPLES
       Leave web with 512 MiB:
           godwit balloon web 512M

EXIT STATUS
       0  the guest has been asked
       1  not possible now, or the guest has no balloon; stderr says which
       2  the command line is wrong
       3  no instance of that name runs here
)" + std::string(kFilesSection));
  add_instance(command, state->name);
  add_parsed(command, "SIZE", state->size, parse_size, "SIZE", "",
             "The memory that the guest is to get along with: K, M, G, T are powers of 1024.")
      ->required();
  command.callback([&action, state] { action = [state] { return resize(*state); }; });
}

}  // namespace godwit::tools
