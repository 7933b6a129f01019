#include "tools/godwit/cli/app.h"

int main(int argc, char** argv) {
  return godwit::tools::run_command_line(argc, argv);
}
