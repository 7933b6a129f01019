#include "tools/godwit/cli/help.h"

#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <sstream>

namespace godwit::tools {
namespace {

constexpr size_t kIndent = 7;

std::string heading(std::string_view name) {
  return fmt::format("\n{}\n", name);
}

// "--cpus N", "-h, --help".
std::string option_head(const CLI::Option& option) {
  std::string head = option.get_positional() ? option.get_name(true) : option.get_name(false, true);
  for (size_t at = head.find(','); at != std::string::npos; at = head.find(',', at + 2))
    head.replace(at, 1, ", ");
  const std::string type = option.get_type_name();
  if (option.nonpositional() && option.get_type_size() != 0 && !type.empty()) head += " " + type;
  return head;
}

std::string option_text(const CLI::Option& option) {
  std::string text = option.get_description();
  if (!option.get_default_str().empty())
    text += fmt::format(" Default: {}.", option.get_default_str());
  if (option.get_required() && option.nonpositional()) text += " Required.";
  return fmt::format("{}{}\n{}\n", std::string(kIndent, ' '), option_head(option),
                     wrap(text, kIndent + 8));
}

std::string synopsis(const CLI::App& app, const std::string& command) {
  std::string text = command;
  for (const CLI::Option* option : app.get_options()) {
    if (option->get_positional() || !option->get_required()) continue;
    text += fmt::format(" {} {}", option->get_name(), option->get_type_name());
  }
  text += app.get_subcommands({}).empty() ? " [OPTION]..." : " COMMAND [ARGUMENT]...";
  for (const CLI::Option* option : app.get_options()) {
    if (!option->get_positional()) continue;
    const std::string name =
        option->get_name(true) + (option->get_items_expected_max() > 1 ? "..." : "");
    text += option->get_required() ? fmt::format(" {}", name) : fmt::format(" [{}]", name);
  }
  return wrap(text, kIndent);
}

std::string commands(const CLI::App& app) {
  const auto subcommands = app.get_subcommands({});
  if (subcommands.empty()) return "";
  std::string text = heading("COMMANDS");
  for (const CLI::App* command : subcommands)
    text += fmt::format("{}{:<14}{}\n", std::string(kIndent, ' '), command->get_name(),
                        command->get_group());
  return text;
}

class ManualFormatter final : public CLI::FormatterBase {
 public:
  std::string make_help(const CLI::App* app, std::string, CLI::AppFormatMode) const override {
    const CLI::App* parent = app->get_parent();
    const std::string command = parent != nullptr
                                    ? fmt::format("{} {}", parent->get_name(), app->get_name())
                                    : app->get_name();
    // The group of a command holds its one-line summary.
    const std::string summary = parent != nullptr ? app->get_group() : "a VMM for live migration";
    std::string text = "NAME\n" + wrap(fmt::format("{} - {}", command, summary), kIndent);
    text += heading("SYNOPSIS") + synopsis(*app, command);
    text += heading("DESCRIPTION") + wrap(app->get_description(), kIndent);
    text += commands(*app) + heading("OPTIONS");
    for (const CLI::Option* option : app->get_options()) text += option_text(*option);
    text.pop_back();
    return text + app->get_footer();
  }
};

}  // namespace

std::string wrap(std::string_view text, size_t indent, size_t width) {
  std::string out, line;
  const std::string margin(indent, ' ');
  const auto flush = [&] {
    if (!line.empty()) out += margin + line + '\n';
    line.clear();
  };
  std::istringstream lines{std::string(text)};
  for (std::string input; std::getline(lines, input);) {
    if (input.empty() || input.front() == ' ') {
      flush();
      out += input.empty() ? "\n" : margin + input + '\n';
      continue;
    }
    std::istringstream words(input);
    for (std::string word; words >> word;) {
      if (!line.empty() && indent + line.size() + 1 + word.size() > width) flush();
      line += (line.empty() ? "" : " ") + word;
    }
  }
  flush();
  return out;
}

std::shared_ptr<CLI::FormatterBase> manual_formatter() {
  return std::make_shared<ManualFormatter>();
}

}  // namespace godwit::tools
