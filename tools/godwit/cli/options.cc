#include "tools/godwit/cli/options.h"

#include "tools/godwit/cli/help.h"
#include "tools/godwit/instance/run_dir.h"

namespace godwit::tools {

const char* const kFilesSection = R"(
FILES
       $GODWIT_RUN_DIR/NAME.sock
               the instance's API socket, for its owner alone
       $GODWIT_RUN_DIR/NAME.lock
               locked, with the process id, as long as the instance lives

ENVIRONMENT
       GODWIT_RUN_DIR
               the run directory; default: $XDG_RUNTIME_DIR/godwit, else /run/godwit
               for root, else /tmp/godwit-UID
)";

CLI::App& add_command(CLI::App& app, const std::string& name, const std::string& summary,
                      const std::string& description, const std::string& footer) {
  CLI::App* command = app.add_subcommand(name, description);
  command->group(summary);
  command->footer(footer);
  command->formatter(manual_formatter());
  command->set_help_flag("-h,--help", "Shows this page.");
  return *command;
}

void add_instance(CLI::App& command, std::string& name) {
  command
      .add_option_function<std::string>(
          "NAME",
          [&name](const std::string& text) {
            const auto good = check_name(text);
            if (!good) throw CLI::ValidationError("NAME", good.error().message);
            name = text;
          },
          "The instance: what --name called it. `godwit list` shows them.")
      ->required()
      ->type_name("");
}

}  // namespace godwit::tools
