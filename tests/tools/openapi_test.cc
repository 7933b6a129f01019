// Holds openapi.json against the server.
#include <fstream>
#include <set>
#include <sstream>

#include "tests/tools/api_fixture.h"
#include "tests/tools/sample_migration.h"
#include "tools/godwit/api/messages.h"
#include "tools/godwit/api/routes.h"
#include "tools/godwit/report/migration_json.h"
#include "tools/godwit/text/json_text.h"

namespace godwit::tools {
namespace {
namespace json = boost::json;

json::object load_description() {
  std::ifstream file(GODWIT_OPENAPI_FILE);
  std::stringstream text;
  text << file.rdbuf();
  return json::parse(text.str()).as_object();
}

class OpenApi : public ApiTest {
 protected:
  const json::object& schema(std::string_view name) const {
    return api.at("components").at("schemas").at(name).as_object();
  }
  // What an object of this schema must and may have; $ref and allOf are followed.
  void collect(const json::object& s, std::set<std::string>& required,
               std::map<std::string, const json::object*>& properties) const {
    if (const auto* ref = s.if_contains("$ref"))
      return collect(resolve(*ref), required, properties);
    if (const auto* all = s.if_contains("allOf"))
      for (const auto& part : all->as_array()) collect(part.as_object(), required, properties);
    if (const auto* names = s.if_contains("required"))
      for (const auto& name : names->as_array()) required.emplace(name.as_string());
    if (const auto* fields = s.if_contains("properties"))
      for (const auto& [name, field] : fields->as_object()) properties[name] = &field.as_object();
  }
  const json::object& resolve(const json::value& ref) const {
    const std::string_view path = ref.as_string();
    return schema(path.substr(path.rfind('/') + 1));
  }
  // Every required field is there, every field is described and has the described type.
  void expect_fits(const json::object& object, const json::object& s, const std::string& where) {
    std::set<std::string> required;
    std::map<std::string, const json::object*> properties;
    collect(s, required, properties);
    for (const auto& name : required) EXPECT_TRUE(object.contains(name)) << where << "." << name;
    for (const auto& [key, value] : object) {
      const std::string name(key);
      ASSERT_TRUE(properties.count(name)) << where << "." << name << " is not described";
      expect_type(value, *properties[name], where + "." + name);
    }
  }
  void expect_type(const json::value& value, const json::object& s, const std::string& where) {
    if (s.contains("$ref") || s.contains("properties")) {
      ASSERT_TRUE(value.is_object()) << where;
      return expect_fits(value.as_object(), s, where);
    }
    const std::string_view type = s.at("type").as_string();
    EXPECT_EQ(type == "string", value.is_string()) << where;
    EXPECT_EQ(type == "boolean", value.is_bool()) << where;
    EXPECT_EQ(type == "number" || type == "integer", value.is_number()) << where;
    EXPECT_FALSE(type == "integer" && value.is_double()) << where;
    ASSERT_EQ(type == "array", value.is_array()) << where;
    if (type == "array")
      for (const auto& item : value.as_array())
        expect_fits(item.as_object(), s.at("items").as_object(), where + "[]");
    if (const auto* choices = s.if_contains("enum")) {
      const auto& list = choices->as_array();
      EXPECT_NE(std::find(list.begin(), list.end(), value), list.end()) << where;
    }
  }
  std::string upper(std::string text) {
    for (char& c : text) c = static_cast<char>(std::toupper(c));
    return text;
  }

  json::object api = load_description();
};

TEST_F(OpenApi, DescribesEveryRouteAndNoOther) {
  std::set<std::string> described, served;
  for (const auto& [path, methods] : api.at("paths").as_object())
    for (const auto& [method, operation] : methods.as_object())
      described.insert(upper(method) + " " + std::string(path));
  for (const ApiRoute& route : api_routes())
    served.insert(fmt::format("{} {}{}", route.method, kApiPrefix, route.path));
  EXPECT_EQ(described, served);
}

TEST_F(OpenApi, EveryDescribedOperationIsServed) {
  for (const auto& [path, methods] : api.at("paths").as_object()) {
    for (const auto& [method, operation] : methods.as_object()) {
      const std::string answer = exchange(fmt::format("{} {} HTTP/1.1\r\nConnection: close\r\n\r\n",
                                                      upper(method), std::string(path)));
      EXPECT_FALSE(answer.starts_with("HTTP/1.1 404")) << answer;
      EXPECT_FALSE(answer.starts_with("HTTP/1.1 405")) << answer;
    }
  }
}

TEST_F(OpenApi, AnswersFitTheirSchemas) {
  expect_fits(*client().get("vmm.ping"), schema("Ping"), "Ping");
  expect_fits(*client().get("vm.info"), schema("Info"), "Info");
  expect_fits(*client().get("vm.migration"), schema("Progress"), "Progress");
  migration::Progress progress = sample_result().progress;
  progress.status = migration::Status::kActive;
  guest.progress(progress);
  expect_fits(*client().get("vm.migration"), schema("Progress"), "Progress");
  guest.finish(sample_result());
  expect_fits(*client().get("vm.migration"), schema("Result"), "Result");
  migration::MigrationResult failed;
  failed.progress.status = migration::Status::kFailed;
  failed.error = make_error(Errc::kIo, "the link broke");
  failed.stall_after_failure = std::chrono::milliseconds(3);
  guest.finish(failed);
  expect_fits(*client().get("vm.migration"), schema("Result"), "Result");
}

TEST_F(OpenApi, ErrorsFitTheirSchema) {
  const std::string answer = exchange("GET /nowhere HTTP/1.1\r\nConnection: close\r\n\r\n");
  const auto body = parse_object(answer.substr(answer.find("\r\n\r\n") + 4));
  ASSERT_TRUE(body) << answer;
  expect_fits(*body, schema("Error"), "Error");
}

TEST_F(OpenApi, RequestHasExactlyTheFieldsThatTheServerTakes) {
  std::set<std::string> described, taken;
  for (const auto& [name, field] : schema("MigrationRequest").at("properties").as_object())
    described.emplace(name);
  for (const auto& [name, value] : to_json(MigrationRequest{})) taken.emplace(name);
  EXPECT_EQ(described, taken);
}

}  // namespace
}  // namespace godwit::tools
