// Finding instances from a command.
#pragma once
#include <string>

#include "tools/godwit/api/client.h"
#include "tools/godwit/instance/run_dir.h"

namespace godwit::tools {

// A client for a living instance. Errors: kNotFound, and what RunDir::open() says.
Result<ApiClient> find_instance(const std::string& name);

// Does one PUT to the instance and reports what goes wrong; the exit status.
int put_to_instance(const std::string& name, const char* route);

}  // namespace godwit::tools
