// Shows a migration under way: a line that renews itself on a terminal, one line per change of
// status, and for iterations at most two a second, elsewhere.
#pragma once
#include <cstdio>

#include "migration/report.h"

namespace godwit::tools {

class ProgressDisplay {
 public:
  // `to` stays the caller's; whether it is a terminal is found out here.
  explicit ProgressDisplay(std::FILE* to);
  ~ProgressDisplay() { clear(); }
  ProgressDisplay(const ProgressDisplay&) = delete;
  ProgressDisplay& operator=(const ProgressDisplay&) = delete;

  void show(const migration::Progress& progress);
  // Takes the line off the terminal, for other output.
  void clear();

 private:
  std::FILE* to_;
  bool terminal_;
  bool shown_ = false;
  migration::Status last_status_ = migration::Status::kNone;
  uint32_t last_iteration_ = 0;
  TimePoint last_line_;
};

}  // namespace godwit::tools
