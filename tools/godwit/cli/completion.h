// Shell completion, made from what the command line parser knows.
#pragma once
#include <string>

namespace CLI {
class App;
}

namespace godwit::tools {

// A bash script to be sourced; needs nothing beside bash. Completes commands, options, the values
// of options that have a choice, files and directories, and the names of running instances.
std::string bash_completion(const CLI::App& app);

}  // namespace godwit::tools
