#include "tools/godwit/cli/instances.h"

#include <boost/json.hpp>

#include "tools/godwit/cli/commands.h"
#include "tools/godwit/cli/exit_status.h"
#include "tools/godwit/instance/instance_lock.h"

namespace godwit::tools {

Result<ApiClient> find_instance(const std::string& name) {
  GODWIT_ASSIGN(const RunDir dir, RunDir::open());
  if (!instance_owner(dir, name)) return no_such_instance(name, dir.socket_path(name));
  return ApiClient(name, dir.socket_path(name));
}

int put_to_instance(const std::string& name, const char* route) {
  const auto client = find_instance(name);
  if (!client) return report_error(client.error());
  const auto answer = client->put(route);
  return answer ? static_cast<int>(kExitOk) : report_error(answer.error());
}

}  // namespace godwit::tools
