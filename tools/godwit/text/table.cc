#include "tools/godwit/text/table.h"

#include <fmt/core.h>

#include <algorithm>

#include "vmm/base/check.h"

namespace godwit::tools {

Table::Table(std::vector<std::string> headings) : headings_(std::move(headings)) {
  for (std::string& heading : headings_) {
    right_.push_back(heading.starts_with('>'));
    if (right_.back()) heading.erase(0, 1);
  }
}

void Table::row(std::vector<std::string> cells) {
  GODWIT_CHECK(cells.size() == headings_.size(), "a row has a cell for each heading");
  rows_.push_back(std::move(cells));
}

std::string Table::text(size_t indent) const {
  std::vector<size_t> widths;
  for (size_t c = 0; c < headings_.size(); ++c) {
    size_t width = headings_[c].size();
    for (const auto& cells : rows_) width = std::max(width, cells[c].size());
    widths.push_back(width);
  }
  std::string out;
  const auto append = [&](const std::vector<std::string>& cells) {
    std::string line(indent, ' ');
    for (size_t c = 0; c < cells.size(); ++c) {
      if (c > 0) line += "  ";
      line += right_[c] ? fmt::format("{:>{}}", cells[c], widths[c])
                        : fmt::format("{:<{}}", cells[c], widths[c]);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    out += line + '\n';
  };
  append(headings_);
  for (const auto& cells : rows_) append(cells);
  return out;
}

std::string printable(std::string_view text) {
  std::string out(text);
  std::ranges::replace_if(
      out, [](unsigned char c) { return (c < 0x20 && c != '\n') || c == 0x7f; }, '?');
  return out;
}

}  // namespace godwit::tools
