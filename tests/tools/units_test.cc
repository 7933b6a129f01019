#include "tools/godwit/text/units.h"

#include <gtest/gtest.h>

namespace godwit::tools {
namespace {
using namespace std::chrono_literals;

TEST(ParseSize, LettersArePowersOf1024AndPairsPowersOf1000) {
  EXPECT_EQ(parse_size("512M")->value, uint64_t{512} << 20);
  EXPECT_EQ(parse_size("1g")->value, uint64_t{1} << 30);
  EXPECT_EQ(parse_size("2GiB")->value, uint64_t{2} << 30);
  EXPECT_EQ(parse_size("2GB")->value, 2'000'000'000u);
  EXPECT_EQ(parse_size("1.5G")->value, uint64_t{3} << 29);
  EXPECT_EQ(parse_size("4096B")->value, 4096u);
  EXPECT_EQ(parse_size("0")->value, 0u);
}

TEST(ParseSize, RefusesWhatCannotBeMeantAndSaysWhy) {
  EXPECT_NE(parse_size("1024").error().message.find("has no unit"), std::string::npos);
  EXPECT_NE(parse_size("1X").error().message.find("unknown unit 'X'"), std::string::npos);
  EXPECT_NE(parse_size("0.3B").error().message.find("whole number of bytes"), std::string::npos);
  EXPECT_NE(parse_size("99999999T").error().message.find("too large"), std::string::npos);
  for (const char* text : {"", "G", "-1G", " 1G", "1 G", "+1G", "0x10M", "nan", "inf", "1e3M"})
    EXPECT_FALSE(parse_size(text)) << text;
}

TEST(ParseDuration, TakesUnitsFromNanosecondsToHours) {
  EXPECT_EQ(*parse_duration("5ms"), 5ms);
  EXPECT_EQ(*parse_duration("50us"), 50us);
  EXPECT_EQ(*parse_duration("50µs"), 50us);
  EXPECT_EQ(*parse_duration("1.5s"), 1500ms);
  EXPECT_EQ(*parse_duration("2min"), 120s);
  EXPECT_EQ(*parse_duration("2m"), 120s);
  EXPECT_EQ(*parse_duration("1h"), 1h);
  EXPECT_EQ(*parse_duration("0"), 0ns);
}

TEST(ParseDuration, RefusesABareNumberAndStrangeUnits) {
  EXPECT_NE(parse_duration("300").error().message.find("has no unit"), std::string::npos);
  EXPECT_NE(parse_duration("3d").error().message.find("unknown unit 'd'"), std::string::npos);
  EXPECT_FALSE(parse_duration("-1s"));
  EXPECT_FALSE(parse_duration("1e99s"));
}

TEST(ParseBandwidth, BitsBytesAndTheirPowers) {
  EXPECT_EQ(*parse_bandwidth("10Gbit"), 1'250'000'000u);
  EXPECT_EQ(*parse_bandwidth("10gbit/s"), 1'250'000'000u);
  EXPECT_EQ(*parse_bandwidth("125MB"), 125'000'000u);
  EXPECT_EQ(*parse_bandwidth("1.5GiB/s"), (uint64_t{3} << 30) / 2);
  EXPECT_EQ(*parse_bandwidth("0"), 0u);
}

TEST(ParseBandwidth, RefusesWhatCouldBeBitsOrBytes) {
  EXPECT_NE(parse_bandwidth("10G").error().message.find("say Gbit or GB"), std::string::npos);
  EXPECT_FALSE(parse_bandwidth("100Mb"));
  EXPECT_FALSE(parse_bandwidth("100"));
  EXPECT_FALSE(parse_bandwidth("1bit"));
}

TEST(Format, ThreeSignificantDigitsAndTheUnitThatFits) {
  EXPECT_EQ(format_size(512), "512 B");
  EXPECT_EQ(format_size(uint64_t{1} << 30), "1.00 GiB");
  EXPECT_EQ(format_size((uint64_t{1} << 30) - 1), "1.00 GiB");
  EXPECT_EQ(format_duration(812ns), "812 ns");
  EXPECT_EQ(format_duration(4210us), "4.21 ms");
  EXPECT_EQ(format_duration(999'999ns), "1.00 ms");
  EXPECT_EQ(format_duration(-41200ns), "-41.2 us");
  EXPECT_EQ(format_duration(125s), "2 m 05 s");
  EXPECT_EQ(format_duration(3h + 2min), "3 h 02 m");
  EXPECT_EQ(format_bit_rate(1.25e9), "10.0 Gbit/s");
  EXPECT_EQ(format_bit_rate(0), "0 bit/s");
  EXPECT_EQ(format_count(4'210'000), "4.21 M");
}

}  // namespace
}  // namespace godwit::tools
