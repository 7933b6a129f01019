#include "vmm/state/sections.h"

#include <gtest/gtest.h>

namespace godwit::vmm {
namespace {

std::vector<std::byte> two_sections() {
  ByteWriter out;
  write_section({"vcpu", 3, 2, false, {std::byte{1}, std::byte{2}}}, out);
  write_section({"clock", 0, 1, true, {}}, out);
  return out.take();
}

TEST(Sections, RoundTrip) {
  const auto sections = read_sections(two_sections());
  ASSERT_TRUE(sections);
  ASSERT_EQ(sections->size(), 2u);
  EXPECT_EQ((*sections)[0].type, "vcpu");
  EXPECT_EQ((*sections)[0].instance, 3u);
  EXPECT_EQ((*sections)[0].version, 2);
  EXPECT_EQ((*sections)[0].payload.size(), 2u);
  EXPECT_TRUE((*sections)[1].optional);
}

TEST(Sections, TruncationInsideASectionIsRejected) {
  const auto bytes = two_sections();
  const size_t first = read_sections(bytes)->size() == 2 ? 34 : 0;  // bytes of the first section
  for (size_t n = 1; n < bytes.size(); ++n) {
    if (n == first) continue;
    EXPECT_FALSE(read_sections(std::span(bytes).first(n))) << n;
  }
}

TEST(Sections, AnyFlippedByteIsRejected) {
  const auto good = two_sections();
  for (size_t i = 0; i < good.size(); ++i) {
    for (const int mask : {0x01, 0x80, 0xff}) {
      auto bad = good;
      bad[i] ^= std::byte(mask);
      EXPECT_FALSE(read_sections(bad)) << "byte " << i << " mask " << mask;
    }
  }
}

}  // namespace
}  // namespace godwit::vmm
