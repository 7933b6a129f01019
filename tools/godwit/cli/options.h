// Options that parse themselves. Only for the .cc files of this folder: it includes CLI11.
#pragma once
#include <CLI/CLI.hpp>
#include <string>
#include <utility>

#include "vmm/base/error.h"

namespace godwit::tools {

// Adds an option whose text `parse` (std::string -> Result<T>) turns into `target`. `type` is what
// help shows for the value, `fallback` the default in the user's words (empty: none).
template <class T, class Parse>
CLI::Option* add_parsed(CLI::App& app, const std::string& name, T& target, Parse parse,
                        const std::string& type, const std::string& fallback,
                        const std::string& description) {
  auto* option = app.add_option_function<std::string>(
      name,
      [name, &target, parse](const std::string& text) {
        auto value = parse(text);
        if (!value) throw CLI::ValidationError(name, value.error().message);
        target = std::move(*value);
      },
      description);
  option->type_name(type)->default_str(fallback);
  return option;
}

// The same for text that is kept as it is; `check` (std::string -> Result<>) may refuse it.
inline CLI::Option* add_text(CLI::App& app, const std::string& name, std::string& target,
                             const std::string& type, const std::string& description) {
  return app.add_option(name, target, description)->type_name(type)->default_str(target);
}

// A finished command: its description and the sections of its manual page after the options.
CLI::App& add_command(CLI::App& app, const std::string& name, const std::string& summary,
                      const std::string& description, const std::string& footer);

// The positional NAME of an instance, checked.
void add_instance(CLI::App& command, std::string& name);

// The sections that several manual pages share.
extern const char* const kFilesSection;

}  // namespace godwit::tools
