#include "tools/godwit/cli/completion.h"

#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <map>
#include <memory>
#include <string_view>

#include "tools/godwit/cli/commands.h"
#include "tools/godwit/cli/exit_status.h"
#include "tools/godwit/cli/options.h"

namespace godwit::tools {
namespace {

// The choices that some options give; the rest follows from the type of their value.
const std::map<std::string_view, std::string_view> kChoices{
    {"--serial", "stdio file= unix= pty null"},
    {"--console", "stdio file= unix= pty null"},
    {"--cpu", "host x86-64-v2 x86-64-v3 baseline="},
    {"--hugepages", "2M 1G transparent"},
    {"--dirty-tracking", "auto log ring"},
    {"--compression", "auto none lz4"},
    {"--on-no-converge", "wait switchover cancel"},
    {"--log-level", "off error warn info debug trace"},
    {"--listen", "tcp:// unix://"},
    {"--multifd-channels", "1 2 4 8"},
};

constexpr std::string_view kHead = R"(# bash completion for godwit. Load it with:
#     source <(godwit completion bash)

_godwit_instances() {
  local dir=${GODWIT_RUN_DIR:-${XDG_RUNTIME_DIR:+$XDG_RUNTIME_DIR/godwit}} file
  if [[ -z $dir ]]; then
    if [[ $EUID -eq 0 ]]; then dir=/run/godwit; else dir=/tmp/godwit-$EUID; fi
  fi
  for file in "$dir"/*.sock; do
    [[ -S $file ]] || continue
    file=${file##*/}
    printf '%s\n' "${file%.sock}"
  done
}

_godwit() {
  local cur=${COMP_WORDS[COMP_CWORD]} prev= command= word i
  COMPREPLY=()
  ((COMP_CWORD > 0)) && prev=${COMP_WORDS[COMP_CWORD-1]}
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=${COMP_WORDS[i]}
    if [[ $word != -* ]]; then command=$word; break; fi
  done
)";

std::string joined_names(const CLI::App& command) {
  std::string names;
  for (const CLI::Option* option : command.get_options()) {
    for (const std::string& name : option->get_lnames()) names += " --" + name;
    for (const std::string& name : option->get_snames()) names += " -" + name;
  }
  return names.empty() ? names : names.substr(1);
}

// How to complete what follows `option`; empty when anything may.
std::string value_completion(const CLI::Option& option, const std::string& name) {
  if (const auto choice = kChoices.find(name); choice != kChoices.end())
    return fmt::format("compgen -W '{}' -- \"$cur\"", choice->second);
  if (option.get_type_name() == "FILE") return "compgen -f -- \"$cur\"";
  if (option.get_type_name() == "DIR") return "compgen -d -- \"$cur\"";
  return "";
}

std::string option_cases(const CLI::App& command) {
  std::string cases;
  for (const CLI::Option* option : command.get_options()) {
    if (!option->nonpositional() || option->get_expected_max() == 0) continue;
    for (const std::string& lname : option->get_lnames()) {
      const std::string how = value_completion(*option, "--" + lname);
      cases += fmt::format("        --{}) {}return ;;\n", lname,
                           how.empty() ? "" : "mapfile -t COMPREPLY < <(" + how + "); ");
    }
  }
  return cases;
}

std::string positional_words(const CLI::App& command) {
  for (const CLI::Option* option : command.get_options()) {
    if (!option->get_positional()) continue;
    if (option->get_name(true) == "NAME") return "compgen -W \"$(_godwit_instances)\" -- \"$cur\"";
    if (option->get_name(true) == "FILE") return "compgen -f -- \"$cur\"";
    if (option->get_name(true) == "DIR") return "compgen -d -- \"$cur\"";
    if (option->get_name(true) == "SHELL") return "compgen -W bash -- \"$cur\"";
  }
  return "";
}

std::string command_case(const CLI::App& command) {
  std::string text = fmt::format("    {})\n", command.get_name());
  if (const std::string cases = option_cases(command); !cases.empty())
    text += "      case $prev in\n" + cases + "      esac\n";
  text += fmt::format(
      "      if [[ $cur == -* ]]; then\n"
      "        mapfile -t COMPREPLY < <(compgen -W '{}' -- \"$cur\")\n",
      joined_names(command));
  if (const std::string words = positional_words(command); !words.empty())
    text += fmt::format("      else\n        mapfile -t COMPREPLY < <({})\n", words);
  return text + "      fi ;;\n";
}

int print_completion(const CLI::App& app, const std::string& shell) {
  if (shell != "bash") {
    fmt::print(stderr, "godwit completion: there is none for '{}', only for bash\n", shell);
    return kExitUsage;
  }
  fmt::print("{}", bash_completion(app));
  return kExitOk;
}

}  // namespace

std::string bash_completion(const CLI::App& app) {
  std::string text(kHead), names, cases;
  for (const CLI::App* command : app.get_subcommands({})) {
    names += " " + command->get_name();
    cases += command_case(*command);
  }
  text += fmt::format(
      "  case $command in\n"
      "    '') mapfile -t COMPREPLY < <(compgen -W '{}{}' -- \"$cur\") ;;\n",
      joined_names(app), names);
  return text + cases +
         "  esac\n"
         "  # A value that ends in = or / goes on.\n"
         "  [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[=/] ]] && compopt -o nospace "
         "2>/dev/null\n"
         "  return 0\n"
         "}\n"
         "complete -F _godwit godwit\n";
}

void add_completion_command(CLI::App& app, Action& action) {
  auto shell = std::make_shared<std::string>();
  CLI::App& command =
      add_command(app, "completion", "print a script that completes godwit's commands in a shell",
                  "Prints a script for the shell to source. It completes commands, options, their "
                  "values, files "
                  "and the names of running instances.",
                  R"(
EXAMPLES
       source <(godwit completion bash)
       godwit completion bash > /etc/bash_completion.d/godwit

EXIT STATUS
       0  done
       2  the command line is wrong
)");
  command.add_option("SHELL", *shell, "Which shell: bash.")->required()->type_name("");
  command.callback(
      [&app, &action, shell] { action = [&app, shell] { return print_completion(app, *shell); }; });
}

}  // namespace godwit::tools
