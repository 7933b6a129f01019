// Manual pages from what the command line parser knows.
#pragma once
#include <memory>
#include <string>
#include <string_view>

namespace CLI {
class FormatterBase;
}

namespace godwit::tools {

// NAME, SYNOPSIS, DESCRIPTION, OPTIONS or COMMANDS, then the footer, wrapped at 80 columns.
std::shared_ptr<CLI::FormatterBase> manual_formatter();

// Fills lines up to `width` columns, each indented; an empty line separates paragraphs, and a line
// that starts with a blank stands as it is.
std::string wrap(std::string_view text, size_t indent, size_t width = 80);

}  // namespace godwit::tools
