#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "devices/acpi_pm.h"
#include "devices/board.h"
#include "devices/debug_exit.h"
#include "devices/i8042.h"
#include "devices/post_port.h"
#include "devices/rtc_cmos.h"
#include "devices/serial_16550.h"
#include "tests/devices/console_fixture.h"
#include "tests/devices/fakes.h"

namespace godwit::devices {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using vmm::DeviceDescription;

// Types, instances and order are on the wire: a change here breaks migration between versions.
TEST(CompareDevices, AMissingDiskIsNamedWithWhatToDoAndNothingThatFollowsFromIt) {
  auto source = board_devices();
  auto here = board_devices();
  source.push_back({"virtio-blk", 0, 1, "slot=1;id=disk0"});
  source.push_back({"virtio-rng", 0, 1, "slot=2"});
  here.push_back({"virtio-rng", 0, 1, "slot=1"});
  EXPECT_THAT(
      compare_devices(source, here),
      ElementsAre("device virtio-blk #0: the source has it, the target does not; give it to "
                  "`godwit receive` with --disk"));
}

TEST(BoardDevices, AreTheOnesOnTheWire) {
  EXPECT_THAT(
      board_devices(),
      ElementsAre(DeviceDescription{"serial-16550", 0, 1}, DeviceDescription{"rtc-cmos", 0, 1},
                  DeviceDescription{"i8042", 0, 1}, DeviceDescription{"acpi-pm", 0, 2},
                  DeviceDescription{"debug-exit", 0, 1}, DeviceDescription{"post-port", 0, 1}));
}

TEST(BoardDevices, AreWhatTheDevicesSayOfThemselves) {
  FakeConsole console;
  FakeEvents events;
  FakeIrq irq;
  FakeTimer timer;
  const Serial16550 serial(console, irq);
  const RtcCmos rtc({}, timer, irq);
  const I8042 i8042(events, irq);
  const AcpiPm acpi(events, irq);
  const DebugExit exit(events);
  const PostPort post;
  std::vector<DeviceDescription> said;
  for (const vmm::Device* device :
       std::initializer_list<const vmm::Device*>{&serial, &rtc, &i8042, &acpi, &exit, &post}) {
    said.push_back({std::string(device->type()), device->instance(), device->state_version()});
  }
  EXPECT_EQ(said, board_devices());
}

TEST(CompareDevices, TheSameBoardsFit) {
  EXPECT_THAT(compare_devices(board_devices(), board_devices()), IsEmpty());
}

TEST(CompareDevices, OrderDoesNotMatterAndOlderStateFits) {
  auto source = board_devices();
  std::swap(source.front(), source.back());
  auto here = board_devices();
  here[0].state_version = 2;
  EXPECT_THAT(compare_devices(source, here), IsEmpty());
}

TEST(CompareDevices, EachDifferenceIsNamed) {
  auto source = board_devices();
  source.erase(source.begin() + 2);
  source[0].state_version = 3;
  source.push_back({"virtio-net", 1, 1});
  EXPECT_THAT(compare_devices(source, board_devices()),
              ElementsAre(HasSubstr("serial-16550 #0: its state has version 3"),
                          HasSubstr("virtio-net #1: the source has it"),
                          HasSubstr("i8042 #0: the target")));
}

TEST(CompareDevices, ADeviceNamedTwiceIsNoFit) {
  auto source = board_devices();
  source.push_back(source.front());
  EXPECT_THAT(compare_devices(source, board_devices()),
              ElementsAre(HasSubstr("twice"), HasSubstr("twice")));
}

TEST(AdoptDevices, WhatNeedsNothingOfTheHostComesAlong) {
  BoardConfig config;
  config.rng = true;
  config.balloon.emplace();
  config.virtio_console = ConsoleConfig{ConsoleKind::kNull, {}};
  const auto source = BoardDevices::open(config).value().describe();
  BoardConfig here;
  adopt_devices(source, here);
  EXPECT_TRUE(here.rng && here.balloon && here.virtio_console);
  EXPECT_THAT(compare_devices(source, BoardDevices::open(here).value().describe()), IsEmpty());
}

TEST(AdoptDevices, ABalloonIsAsWhereTheGuestComesFromUnlessToldOtherwise) {
  for (const bool hints : {false, true}) {
    BoardConfig there;
    there.balloon = virtio::BalloonConfig{.free_page_hint = hints};
    const auto source = BoardDevices::open(there).value().describe();
    for (const bool named : {false, true}) {
      BoardConfig here;
      if (named) here.balloon.emplace();
      adopt_devices(source, here);
      EXPECT_EQ(here.balloon->free_page_hint, hints);
      EXPECT_THAT(compare_devices(source, BoardDevices::open(here).value().describe()), IsEmpty());
    }
    BoardConfig here;
    here.balloon = virtio::BalloonConfig{.free_page_hint = !hints};
    adopt_devices(source, here);
    EXPECT_THAT(compare_devices(source, BoardDevices::open(here).value().describe()),
                testing::Contains(HasSubstr("virtio-balloon #0: free-page-hint")));
  }
}

TEST(AdoptDevices, AConsoleThatIsNamedHereStays) {
  BoardConfig here;
  here.virtio_console = ConsoleConfig{ConsoleKind::kPty, {}};
  adopt_devices({{"virtio-console", 0, 1, "slot=1"}}, here);
  EXPECT_EQ(here.virtio_console->kind, ConsoleKind::kPty);
}

TEST(AdoptDevices, ASocketDeviceMustBeNamedHereWithTheSameCid) {
  const TemporaryDirectory directory;
  BoardConfig config;
  config.vsock = virtio::VsockConfig{.cid = 5, .path = directory.file("a")};
  const auto source = BoardDevices::open(config).value().describe();
  BoardConfig here;
  adopt_devices(source, here);
  EXPECT_THAT(compare_devices(source, BoardDevices::open(here).value().describe()),
              testing::Contains(HasSubstr("virtio-vsock #0: the source has it")));
  here.vsock = virtio::VsockConfig{.cid = 6, .path = directory.file("b")};
  EXPECT_THAT(
      compare_devices(source, BoardDevices::open(here).value().describe()),
      ElementsAre(HasSubstr("virtio-vsock #0: cid is 5 at the source and 6 at the target")));
}

TEST(BoardDevices, TwoConsolesOnOneTerminalAreRefused) {
  BoardConfig config;
  config.serial.kind = ConsoleKind::kStdio;
  config.virtio_console = ConsoleConfig{ConsoleKind::kStdio, {}};
  const auto refused = BoardDevices::open(config);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("--serial null"));
}

}  // namespace
}  // namespace godwit::devices
