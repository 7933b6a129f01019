// The plot: rows are cases, panels are metrics, a dot per run, a bar at the median.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "bench/downtime/results.h"

namespace godwit::bench {
namespace {

constexpr int kLeft = 190;  // room for the names of the cases
constexpr int kPanelWidth = 270;
constexpr int kPanelGap = 28;
constexpr int kTop = 84;
constexpr int kLane = 13;  // a contestant's lane in a case's row
constexpr int kRowGap = 12;
constexpr int kBottom = 46;
constexpr const char* kPanels[] = {"blackout_ms", "total_ms", "source_cpu_s"};

const char* color(Contestant contestant) {
  switch (contestant) {
    case Contestant::kGodwit:
      return "#0b6fb8";
    case Contestant::kGodwit10ms:
      return "#5aa9de";
    case Contestant::kQemu:
      return "#d9541e";
    case Contestant::kQemuDefault:
      return "#e8a33d";
  }
  return "#000000";
}

std::string escaped(std::string_view text) {
  std::string result;
  for (const char c : text) {
    switch (c) {
      case '&':
        result += "&amp;";
        break;
      case '<':
        result += "&lt;";
        break;
      case '>':
        result += "&gt;";
        break;
      case '"':
        result += "&quot;";
        break;
      default:
        result += c;
    }
  }
  return result;
}

std::string text_at(double x, double y, const char* anchor, int size, std::string_view text,
                    const char* fill = "#222222") {
  return fmt::format(
      "<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\" font-size=\"{}\" fill=\"{}\">{}</text>\n",
      x, y, anchor, size, fill, escaped(text));
}

// Whole decades around all values.
struct Axis {
  double low = 0, high = 1;  // decimal exponents
  double left = 0;

  [[nodiscard]] double x(double value) const {
    const double place = (std::log10(std::max(value, 1e-12)) - low) / (high - low);
    return left + std::clamp(place, 0.0, 1.0) * kPanelWidth;
  }
};

Axis axis_for(const Results& results, const Metric& m, double left) {
  double low = 1e12, high = 0;
  for (const Run& run : results.runs()) {
    const double value = m.of(run.figures);
    if (!run.figures.converged || value <= 0) continue;
    low = std::min(low, value);
    high = std::max(high, value);
  }
  if (high <= 0) return {.low = 0, .high = 1, .left = left};
  const double first = std::floor(std::log10(low));
  return {.low = first, .high = std::max(std::ceil(std::log10(high)), first + 1), .left = left};
}

int row_height(const Results& results, const std::string& name) {
  return static_cast<int>(results.contestants(name).size()) * kLane + kRowGap;
}

std::string draw_grid(const Axis& axis, const Metric& m, int height) {
  std::string svg = text_at(axis.left + kPanelWidth / 2.0, kTop - 12, "middle", 13,
                            fmt::format("{} [{}]", m.title, m.unit));
  for (int decade = static_cast<int>(axis.low); decade <= static_cast<int>(axis.high); ++decade) {
    const double value = std::pow(10, decade);
    svg += fmt::format(
        "<line x1=\"{0:.1f}\" y1=\"{1}\" x2=\"{0:.1f}\" y2=\"{2}\" stroke=\"#cccccc\"/>\n",
        axis.x(value), kTop, height - kBottom);
    // The last label of a panel leaves room for the first of the next.
    const bool last = decade == static_cast<int>(axis.high);
    svg += text_at(axis.x(value), height - kBottom + 15, last ? "end" : "middle", 11,
                   fmt::format("{:g}", value));
  }
  return svg;
}

std::string draw_lane(const Results& results, const std::string& name, Contestant who,
                      const Metric& m, const Axis& axis, double y) {
  std::string svg;
  for (const Run& run : results.runs()) {
    const double value = m.of(run.figures);
    if (run.case_name != name || run.contestant != who || !run.figures.converged || value <= 0) {
      continue;
    }
    svg += fmt::format(
        "<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"2.4\" fill=\"{}\" fill-opacity=\"0.45\"/>\n",
        axis.x(value), y, color(who));
  }
  if (results.count(name, who).converged == 0) {
    return text_at(axis.left + 4, y + 4, "start", 10, "did not converge", color(who));
  }
  const double median = results.summary(name, who, m).p50;
  if (median <= 0) return svg + text_at(axis.left + 4, y + 4, "start", 10, "below 1", color(who));
  return svg +
         fmt::format("<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"3\" height=\"11\" fill=\"{}\"/>\n",
                     axis.x(median) - 1.5, y - 5.5, color(who));
}

std::string draw_panel(const Results& results, const Metric& m, double left, int height) {
  const Axis axis = axis_for(results, m, left);
  std::string svg = draw_grid(axis, m, height);
  double y = kTop + kRowGap;
  for (const std::string& name : results.case_names()) {
    const auto contestants = results.contestants(name);
    for (size_t i = 0; i < contestants.size(); ++i) {
      svg += draw_lane(results, name, contestants[i], m, axis, y + static_cast<double>(i) * kLane);
    }
    y += row_height(results, name);
  }
  return svg;
}

std::string draw_legend(const Results& results) {
  std::string svg;
  double x = kLeft;
  for (const Contestant who : {Contestant::kGodwit, Contestant::kGodwit10ms, Contestant::kQemu,
                               Contestant::kQemuDefault}) {
    const bool present =
        std::ranges::any_of(results.runs(), [&](const Run& run) { return run.contestant == who; });
    if (!present) continue;
    svg += fmt::format("<rect x=\"{:.1f}\" y=\"40\" width=\"11\" height=\"11\" fill=\"{}\"/>\n", x,
                       color(who));
    svg += text_at(x + 16, 50, "start", 12, contestant_name(who));
    x += 120;
  }
  return svg + text_at(x, 50, "start", 11, "dot: a run; bar: the median; axes are logarithmic",
                       "#666666");
}

std::string draw_names(const Results& results, int width) {
  std::string svg;
  double y = kTop;
  for (const std::string& name : results.case_names()) {
    const int height = row_height(results, name);
    svg += text_at(kLeft - 12, y + height / 2.0 + 4, "end", 11, name);
    y += height;
    svg += fmt::format(
        "<line x1=\"12\" y1=\"{0:.1f}\" x2=\"{1}\" y2=\"{0:.1f}\" stroke=\"#eeeeee\"/>\n", y,
        width - 12);
  }
  return svg;
}

}  // namespace

std::string to_svg(const Results& results) {
  const int panels = static_cast<int>(std::size(kPanels));
  const int width = kLeft + panels * (kPanelWidth + kPanelGap);
  int height = kTop + kBottom;
  for (const std::string& name : results.case_names()) height += row_height(results, name);
  std::string svg = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" height=\"{1}\" viewBox=\"0 0 {0} "
      "{1}\" font-family=\"sans-serif\">\n<rect width=\"{0}\" height=\"{1}\" fill=\"#ffffff\"/>\n",
      width, height);
  const SessionInfo& info = results.info();
  svg += text_at(12, 24, "start", 15, "Live migration: godwit and QEMU, run by run in turn");
  svg +=
      text_at(width - 12, 24, "end", 11, fmt::format("{}, {}", info.date, info.machine), "#666666");
  svg += draw_legend(results);
  svg += draw_names(results, width);
  for (int i = 0; i < panels; ++i) {
    svg += draw_panel(results, metric(kPanels[i]), kLeft + i * (kPanelWidth + kPanelGap), height);
  }
  svg +=
      text_at(12, height - 10, "start", 11,
              fmt::format("{}; {}; kernel {}", info.godwit_version, info.qemu_version, info.kernel),
              "#666666");
  return svg + "</svg>\n";
}

}  // namespace godwit::bench
