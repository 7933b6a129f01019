#include "devices/wall_timer.h"

#include <gtest/gtest.h>

#include <semaphore>

namespace godwit::devices {
namespace {

using namespace std::chrono_literals;

TEST(HostWallTimer, RingsNotBeforeItsTime) {
  HostWallTimer timer;
  std::counting_semaphore<> rung(0);
  Microseconds at{};
  timer.start([&] {
    at = timer.now();
    rung.release();
  });
  const Microseconds wanted = timer.now() + 20ms;
  timer.arm(wanted);
  ASSERT_TRUE(rung.try_acquire_for(30s));
  EXPECT_GE(at, wanted);
  timer.stop();
}

TEST(HostWallTimer, RingsForTheLastTimeArmedAndForOneThatHasPassed) {
  HostWallTimer timer;
  std::counting_semaphore<> rung(0);
  timer.start([&] { rung.release(); });
  timer.arm(timer.now() + 24h);
  timer.arm(Microseconds(-5));
  EXPECT_TRUE(rung.try_acquire_for(30s));
}

TEST(HostWallTimer, TakesFarTimesAndStopsWhileArmed) {
  HostWallTimer timer;
  timer.start([] { FAIL() << "rang"; });
  timer.arm(Microseconds(int64_t{20'000} * 366 * 86'400 * 1'000'000));
  timer.stop();
  timer.stop();
}

TEST(HostWallTimer, MayBeArmedFromItsOwnAlarm) {
  HostWallTimer timer;
  std::counting_semaphore<> rung(0);
  int left = 3;
  timer.start([&] {
    if (--left > 0) timer.arm(timer.now() + 1ms);
    rung.release();
  });
  timer.arm(timer.now());
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(rung.try_acquire_for(30s));
}

}  // namespace
}  // namespace godwit::devices
