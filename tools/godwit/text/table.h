// Columns of text for terminals.
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace godwit::tools {

// Aligns columns two spaces apart. A heading that starts with '>' aligns its column to the right
// (the sign is not shown). No line ends in blanks.
class Table {
 public:
  explicit Table(std::vector<std::string> headings);
  // As many cells as there are headings.
  void row(std::vector<std::string> cells);
  // With the headings first; every line ends in '\n' and starts with `indent` blanks.
  [[nodiscard]] std::string text(size_t indent = 0) const;

 private:
  std::vector<std::string> headings_;
  std::vector<bool> right_;
  std::vector<std::vector<std::string>> rows_;
};

// Text from outside (a peer, a guest, a file) made harmless for a terminal: control characters
// become '?', newlines stay.
std::string printable(std::string_view text);

}  // namespace godwit::tools
