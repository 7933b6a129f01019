#include "devices/acpi/aml.h"

#include <gtest/gtest.h>

#include "devices/acpi/resources.h"

namespace godwit::devices::acpi {
namespace {

Aml bytes(std::initializer_list<unsigned> values) {
  Aml out;
  for (const unsigned v : values) out.push_back(static_cast<std::byte>(v));
  return out;
}

TEST(Aml, IntegersTakeTheShortestForm) {
  EXPECT_EQ(aml_integer(0), bytes({0x00}));
  EXPECT_EQ(aml_integer(1), bytes({0x01}));
  EXPECT_EQ(aml_integer(2), bytes({0x0a, 2}));
  EXPECT_EQ(aml_integer(0xff), bytes({0x0a, 0xff}));
  EXPECT_EQ(aml_integer(0x100), bytes({0x0b, 0x00, 0x01}));
  EXPECT_EQ(aml_integer(0x10000), bytes({0x0c, 0x00, 0x00, 0x01, 0x00}));
  EXPECT_EQ(aml_integer(0x100000000), bytes({0x0e, 0, 0, 0, 0, 1, 0, 0, 0}));
}

// ACPI 6.5, 19.3.4 has this one as its example.
TEST(Aml, EisaIdsAreCompressed) {
  EXPECT_EQ(aml_eisa_id("PNP0A03"), bytes({0x0c, 0x41, 0xd0, 0x0a, 0x03}));
  EXPECT_EQ(aml_eisa_id("PNP0C02"), bytes({0x0c, 0x41, 0xd0, 0x0c, 0x02}));
}

TEST(Aml, NamesArePaddedAndMayBeginAtTheRoot) {
  EXPECT_EQ(aml_name("_UID", aml_integer(1)), bytes({0x08, '_', 'U', 'I', 'D', 1}));
  EXPECT_EQ(aml_name("\\_S5", aml_integer(0)), bytes({0x08, '\\', '_', 'S', '5', '_', 0}));
}

TEST(Aml, PackagesCountTheirElementsAndStringsEndWithZero) {
  EXPECT_EQ(aml_package({aml_integer(5), aml_string("A")}),
            bytes({0x12, 7, 2, 0x0a, 5, 0x0d, 'A', 0}));
}

TEST(Aml, DevicesNest) {
  EXPECT_EQ(aml_scope("\\_SB", {aml_device("A", {aml_name("B", aml_integer(0))})}),
            bytes({0x10, 19,  '\\', '_', 'S',  'B', '_', 0x5b, 0x82, 11,
                   'A',  '_', '_',  '_', 0x08, 'B', '_', '_',  '_',  0}));
}

// The length counts its own bytes; where it grows by one, the next size is skipped.
TEST(Aml, LengthsTakeOneToFourBytes) {
  const auto length_bytes = [](size_t contents) {
    const Aml aml = aml_scope("AAAA", Aml(contents - 4));
    return aml.size() - 1 - contents;
  };
  EXPECT_EQ(length_bytes(0x3e), 1u);
  EXPECT_EQ(length_bytes(0x3f), 2u);
  EXPECT_EQ(length_bytes(0xffd), 2u);
  EXPECT_EQ(length_bytes(0xffe), 3u);
  EXPECT_EQ(length_bytes(0xffffc), 3u);
  EXPECT_EQ(length_bytes(0xffffd), 4u);
  const Aml aml = aml_scope("AAAA", Aml(0x1230 - 4));
  EXPECT_EQ(Aml(aml.begin(), aml.begin() + 4), bytes({0x10, 0x83, 0x23, 0x01}));
}

TEST(Resources, DescribePortsInterruptsAndMemory) {
  EXPECT_EQ(
      Resources().ports(0x3f8, 8).isa_interrupt(4).finish(),
      bytes({0x11, 16, 0x0a, 13, 0x47, 1, 0xf8, 0x03, 0xf8, 0x03, 1, 8, 0x22, 0x10, 0, 0x79, 0}));
  EXPECT_EQ(Resources().memory(Gpa{0xe0000000}, 1_MiB).finish(),
            bytes({0x11, 17, 0x0a, 14, 0x86, 9, 0, 1, 0, 0, 0, 0xe0, 0, 0, 0x10, 0, 0x79, 0}));
}

TEST(Resources, DescribeWindows) {
  EXPECT_EQ(
      Resources().bus_window(0, 0).finish(),
      bytes({0x11, 21, 0x0a, 18, 0x88, 13, 0, 2, 0x0c, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0x79, 0}));
  EXPECT_EQ(Resources().port_window(0x1000, 0xffff).finish(),
            bytes({0x11, 21,   0x0a, 18,   0x88, 13, 0, 1, 0x0c, 3,    0,
                   0,    0x00, 0x10, 0xff, 0xff, 0,  0, 0, 0xf0, 0x79, 0}));
  EXPECT_EQ(Resources().memory_window(Gpa{0xc0000000}, 512_MiB).finish(),
            bytes({0x11, 31,   0x0a, 28,   0x87, 23,   0, 0, 0x0c, 1, 0, 0, 0, 0,    0,    0,
                   0,    0xc0, 0xff, 0xff, 0xff, 0xdf, 0, 0, 0,    0, 0, 0, 0, 0x20, 0x79, 0}));
}

}  // namespace
}  // namespace godwit::devices::acpi
