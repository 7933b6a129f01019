#include <gtest/gtest.h>

#include "devices/debug_exit.h"
#include "devices/post_port.h"
#include "tests/devices/state_torture.h"

namespace godwit::devices {
namespace {

struct Exit {
  FakeEvents events;
  DebugExit device{events};
};

TEST(DebugExit, HandsTheCodeOnInEachWidth) {
  Exit exit;
  out8(exit.device, 0, 0x21);
  EXPECT_EQ(exit.events.exit_code, 0x21u);
  out16(exit.device, 0, 0x1234);
  EXPECT_EQ(exit.events.exit_code, 0x1234u);
  const std::byte wide[4] = {std::byte{1}, std::byte{2}, std::byte{3}, std::byte{0x84}};
  exit.device.write(0, wide);
  EXPECT_EQ(exit.events.exit_code, 0x84030201u);
}

TEST(DebugExit, IgnoresOtherOffsetsAndWidthsAndReadsAsZero) {
  Exit exit;
  out8(exit.device, 1, 0x21);
  const std::byte wide[8] = {};
  exit.device.write(0, wide);
  EXPECT_FALSE(exit.events.exit_code);
  EXPECT_EQ(in8(exit.device, 0), 0);
}

TEST(DebugExit, HasNoStateAndRefusesAny) {
  Exit exit;
  EXPECT_TRUE(saved(exit.device).empty());
  EXPECT_TRUE(load_bytes(exit.device, {}));
  const std::byte extra{1};
  EXPECT_FALSE(load_bytes(exit.device, {&extra, 1}));
}

TEST(PostPort, KeepsTheLastCodeAcrossAMove) {
  PostPort source;
  out8(source, 0, 0x10);
  out8(source, 0, 0x42);
  PostPort target;
  ASSERT_TRUE(load_bytes(target, saved(source)));
  EXPECT_EQ(in8(target, 0), 0x42);
}

TEST(PostPort, HostileBytesAreRefusedOrHarmless) {
  struct Post {
    PostPort device;
  };
  constexpr uint64_t kRegisters[] = {0};
  PostPort source;
  torture_load(saved(source), kRegisters, [] { return std::make_unique<Post>(); });
}

}  // namespace
}  // namespace godwit::devices
