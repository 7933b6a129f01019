#include "vmm/base/byte_io.h"

#include <gtest/gtest.h>

namespace godwit {
namespace {

std::vector<std::byte> sample() {
  ByteWriter w;
  w.u8(0x12);
  w.u16(0x3456);
  w.u32(0x789abcde);
  w.u64(0x0102030405060708);
  w.i64(-5);
  w.string("godwit");
  return w.take();
}

struct Decoded {
  uint8_t a;
  uint16_t b;
  uint32_t c;
  uint64_t d;
  int64_t e;
  std::string text;
};

Result<Decoded> decode(std::span<const std::byte> bytes) {
  ByteReader r(bytes, "sample");
  Decoded d{r.u8(), r.u16(), r.u32(), r.u64(), r.i64(), r.string(16, "a text's length")};
  GODWIT_TRY(r.finish());
  return d;
}

TEST(ByteIo, RoundTrips) {
  const auto d = decode(sample());
  ASSERT_TRUE(d);
  EXPECT_EQ(d->a, 0x12);
  EXPECT_EQ(d->b, 0x3456);
  EXPECT_EQ(d->c, 0x789abcdeu);
  EXPECT_EQ(d->d, 0x0102030405060708u);
  EXPECT_EQ(d->e, -5);
  EXPECT_EQ(d->text, "godwit");
}

TEST(ByteIo, IsLittleEndian) {
  ByteWriter w;
  w.u32(0x04030201);
  EXPECT_EQ(w.view()[0], std::byte{1});
  EXPECT_EQ(w.view()[3], std::byte{4});
}

TEST(ByteIo, TruncatedAnywhereIsAnErrorThatNamesTheThing) {
  const auto bytes = sample();
  for (size_t n = 0; n < bytes.size(); ++n) {
    const auto d = decode(std::span(bytes).first(n));
    ASSERT_FALSE(d) << n;
    EXPECT_EQ(d.error().code, Errc::kCorrupt);
    EXPECT_NE(d.error().message.find("sample"), std::string::npos);
  }
}

TEST(ByteIo, BytesLeftOverAreAnError) {
  auto bytes = sample();
  bytes.push_back(std::byte{0});
  EXPECT_FALSE(decode(bytes));
}

TEST(ByteIo, CountOverItsLimitIsRefusedAndReadsAsZero) {
  ByteWriter w;
  w.u32(17);
  ByteReader r(w.view(), "sample");
  EXPECT_EQ(r.count(16, "the number of things"), 0u);
  EXPECT_FALSE(r.ok());
  EXPECT_NE(r.status().error().message.find("the number of things is 17"), std::string::npos);
}

TEST(ByteIo, FirstFailureSticks) {
  ByteReader r({}, "sample");
  (void)r.u8();
  const std::string first = r.status().error().message;
  r.fail(make_error(Errc::kProtocol, "later"));
  EXPECT_EQ(r.status().error().message, first);
  EXPECT_EQ(r.u64(), 0u);
}

}  // namespace
}  // namespace godwit
