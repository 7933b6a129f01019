#include "tools/godwit/report/migration_json.h"

#include <gtest/gtest.h>

#include <boost/json.hpp>

#include "tests/tools/sample_migration.h"
#include "tools/godwit/api/messages.h"
#include "tools/godwit/text/json_text.h"

namespace godwit::tools {
namespace {
namespace json = boost::json;

TEST(MigrationJson, HasTheNamesOfQueryMigrate) {
  const json::object object = to_json(sample_result());
  for (const char* name : {"status", "total-time", "setup-time", "downtime", "expected-downtime",
                           "ledger", "iterations", "verify"})
    EXPECT_TRUE(object.contains(name)) << name;
  const json::object& ram = object.at("ram").as_object();
  for (const char* name : {"transferred", "remaining", "total", "duplicate", "normal",
                           "normal-bytes", "dirty-pages-rate", "mbps", "dirty-sync-count",
                           "page-size", "pages-per-second", "precopy-bytes", "downtime-bytes"})
    EXPECT_TRUE(ram.contains(name)) << name;
  EXPECT_EQ(ram.at("normal-bytes").to_number<uint64_t>(), 200'000u * 4096);
  EXPECT_EQ(ram.at("precopy-bytes").to_number<uint64_t>(), 599'750'000u);
  EXPECT_EQ(ram.at("mbps").to_number<double>(), 10'000);
  EXPECT_EQ(object.at("compression").at("compression-rate").to_number<double>(), 2);
}

TEST(MigrationJson, TimesAreMillisecondsExactToTheNanosecond) {
  const std::string text = to_text(to_json(sample_result()));
  EXPECT_NE(text.find("\"downtime\":0.8715,"), std::string::npos) << text;
  EXPECT_NE(text.find("\"setup-time\":34.500001,"), std::string::npos) << text;
}

TEST(MigrationJson, LedgerAddsUpToTheDowntime) {
  const json::object object = to_json(sample_result());
  const json::object& ledger = object.at("ledger").as_object();
  double sum = 0;
  for (const auto& [name, value] : ledger)
    if (name != "total" && !name.starts_with("clock")) sum += value.to_number<double>();
  EXPECT_NEAR(sum, object.at("downtime").to_number<double>(), 1e-9);
}

TEST(MigrationJson, ComesBackAsItWent) {
  const auto sent = to_json(sample_result());
  const auto back = result_from_json(*parse_object(to_text(sent)));
  ASSERT_TRUE(back) << back.error().message;
  EXPECT_EQ(to_text(to_json(*back)), to_text(sent));
  EXPECT_EQ(back->ledger->phases, sample_result().ledger->phases);
  EXPECT_EQ(back->iterations.size(), 3u);
  EXPECT_EQ(back->verify->source_hash, 0x0123456789abcdefu);
}

TEST(MigrationJson, FailureKeepsItsCodeAndText) {
  migration::MigrationResult failed;
  failed.progress.status = migration::Status::kFailed;
  failed.error = make_error(Errc::kIncompatible, "the target has no AVX2");
  const auto object = to_json(failed);
  EXPECT_EQ(object.at("status"), "failed");
  EXPECT_EQ(object.at("error-desc"), "the target has no AVX2");
  EXPECT_FALSE(object.contains("ledger"));
  EXPECT_EQ(result_from_json(object)->error->code, Errc::kIncompatible);
}

TEST(MigrationJson, EveryFieldOfTheWrongTypeIsNamed) {
  const json::object good = to_json(sample_result());
  for (const auto& [name, value] : good) {
    json::object bad = good;
    bad[name] = value.is_string() ? json::value(json::array{}) : json::value("x");
    const auto result = result_from_json(bad);
    ASSERT_FALSE(result) << std::string(name);
    EXPECT_EQ(result.error().code, Errc::kCorrupt);
    EXPECT_NE(result.error().message.find(std::string(name)), std::string::npos);
  }
}

TEST(MigrationRequestJson, ComesBackAsItWent) {
  MigrationRequest request;
  request.destination = "tcp://h:1";
  request.tls_dir = "/etc/godwit";
  request.parameters.compression = migration::Compression::kLz4;
  request.parameters.on_no_converge = migration::OnNoConverge::kCancel;
  request.parameters.downtime_limit = std::chrono::microseconds(1500);
  request.parameters.verify = true;
  request.parameters.copy_storage = true;
  const auto back = migration_request_from_json(to_json(request));
  ASSERT_TRUE(back) << back.error().message;
  EXPECT_EQ(to_text(to_json(*back)), to_text(to_json(request)));
}

TEST(MigrationRequestJson, RefusesWhatCannotBeMeant) {
  const auto problem = [](const char* text) {
    const auto request = migration_request_from_json(*parse_object(text));
    EXPECT_FALSE(request) << text;
    if (request) return std::string();
    EXPECT_EQ(request.error().code, Errc::kInvalidArgument);
    return request.error().message;
  };
  EXPECT_NE(problem("{}").find("no 'destination'"), std::string::npos);
  EXPECT_NE(problem(R"({"destination":"tcp://h:1"})").find("'tls-dir' or 'plaintext'"),
            std::string::npos);
  EXPECT_NE(
      problem(R"({"destination":"tcp://h:1","plaintext":true,"tls-dir":"/x"})").find("either"),
      std::string::npos);
  EXPECT_NE(problem(R"({"destination":"tcp://h:1","plaintext":true,"downtime_limit":5})")
                .find("unknown field 'downtime_limit'"),
            std::string::npos);
  EXPECT_NE(problem(R"({"destination":"tcp://h:1","plaintext":true,"multifd-channels":65})")
                .find("1 to 64"),
            std::string::npos);
  EXPECT_NE(problem(R"({"destination":"tcp://h:1","plaintext":true,"compression":"zip"})")
                .find("auto, none, lz4"),
            std::string::npos);
  EXPECT_NE(problem(R"({"destination":5,"plaintext":true})").find("'destination'"),
            std::string::npos);
  problem(R"({"destination":"tcp://h:1","plaintext":true,"downtime-limit":-1})");
  problem(R"({"destination":"tcp://h:1","plaintext":true,"io-timeout":0})");
  problem(R"({"destination":"tcp://h:1","plaintext":true,"max-bandwidth":-1})");
}

TEST(JsonText, NumbersStandAsAPersonWritesThem) {
  EXPECT_EQ(to_text(json::object{{"a", 0.5}, {"b", 3.0}, {"c", 1e-6}, {"d", -0.0}}),
            R"({"a":0.5,"b":3,"c":0.000001,"d":0})");
  EXPECT_EQ(to_text(json::array{"q\"\n", nullptr, true}), R"(["q\"\n",null,true])");
  EXPECT_EQ(to_pretty_text(json::object{{"a", json::array{}}, {"b", json::array{1}}}),
            "{\n  \"a\": [],\n  \"b\": [\n    1\n  ]\n}");
}

TEST(JsonText, MalformedAndDeepInputIsRefused) {
  EXPECT_FALSE(parse_object("{"));
  EXPECT_FALSE(parse_object("[]"));
  EXPECT_FALSE(parse_object("{} x"));
  EXPECT_FALSE(parse_object(std::string(100'000, '[')));
}

}  // namespace
}  // namespace godwit::tools
