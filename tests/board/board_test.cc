// The whole board on real KVM, with a guest that talks to it.
#include "devices/board.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <condition_variable>
#include <optional>

#include "devices/acpi/firmware_tables.h"
#include "tests/devices/console_fixture.h"
#include "vmm/vm.h"

// 32-bit, no paging, no stack. Prints the alphabet over and over until a byte comes in, then ends
// with that byte as its debug-exit code.
asm(R"(
  .pushsection .rodata
  .globl board_guest_start, board_guest_end
board_guest_start:
  .code32
  mov $0x3fa, %dx
  mov $0x01, %al
  out %al, %dx
2: mov $'a', %cl
1: mov $0x3fd, %dx
  in %dx, %al
  test $0x01, %al
  jnz 3f
  test $0x20, %al
  jz 1b
  mov $0x3f8, %dx
  mov %cl, %al
  out %al, %dx
  inc %cl
  cmp $'z' + 1, %cl
  jne 1b
  jmp 2b
3: mov $0x3f8, %dx
  in %dx, %al
  out %al, $0xf4
4: jmp 4b
board_guest_end:
  .code64
  .popsection
)");
extern "C" const char board_guest_start[], board_guest_end[];

namespace godwit::devices {
namespace {

constexpr uint64_t kEntry = 0x100000;

class Events final : public vmm::GuestEvents {
 public:
  void power_off() override {}
  void reset() override {}
  void debug_exit(uint32_t code) override {
    const std::lock_guard lock(mutex_);
    code_ = code;
    ended_.notify_all();
  }
  std::optional<uint32_t> wait_exit() {
    std::unique_lock lock(mutex_);
    ended_.wait_for(lock, kTestLimit, [this] { return code_.has_value(); });
    return code_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable ended_;
  std::optional<uint32_t> code_;
};

// A machine with a board and a client on its serial console.
struct Host {
  static Result<std::unique_ptr<Host>> create(const std::string& socket) {
    auto host = std::make_unique<Host>();
    vmm::VmConfig config;
    config.memory.size = 16_MiB;
    GODWIT_ASSIGN(host->vm, vmm::Vm::create(config));
    GODWIT_ASSIGN(host->board, Board::create(*host->vm, {.serial = {ConsoleKind::kUnix, socket}},
                                             BoardDevices(), host->events));
    host->client = connect_unix(host->board->console_path());
    return host;
  }
  ~Host() {
    if (vm) vm->shut_down();
    if (board) board->shut_down(Unsent::kSendUnlessQuiesced);
  }
  Events events;
  std::unique_ptr<vmm::Vm> vm;
  std::unique_ptr<Board> board;
  UniqueFd client;
};

class BoardTest : public testing::Test {
 protected:
  std::unique_ptr<Host> host(const std::string& name) {
    auto made = Host::create(directory.file(name));
    if (made) return std::move(*made);
    error = made.error().message;
    return nullptr;
  }
  void start(Host& host) {
    const auto code = std::as_bytes(std::span(board_guest_start, board_guest_end));
    ASSERT_TRUE(host.vm->memory().write(Gpa{kEntry}, code));
    const auto started = host.vm->start_at({vmm::BootProtocol::kPvh, Gpa{kEntry}, Gpa{0}});
    ASSERT_TRUE(started) << started.error().message;
    host.vm->resume();
  }
  TemporaryDirectory directory;
  std::string error;
};

// Whether `text` goes on with the alphabet from `first` without a gap.
void expect_alphabet(std::string_view text, size_t first) {
  for (size_t i = 0; i < text.size(); ++i) {
    ASSERT_EQ(text[i], static_cast<char>('a' + (first + i) % 26)) << "byte " << first + i;
  }
}

TEST_F(BoardTest, DescribesItselfAsBoardDevicesSays) {
  const auto a = host("a");
  if (!a) GTEST_SKIP() << error;
  EXPECT_EQ(a->vm->describe().devices, board_devices());
}

TEST_F(BoardTest, TheFirmwareTablesOfAMachineAreWhereItsKernelIsToldThatTheyAre) {
  const auto a = host("a");
  if (!a) GTEST_SKIP() << error;
  const auto rsdp = a->board->write_firmware_tables(a->vm->memory());
  ASSERT_TRUE(rsdp) << rsdp.error().message;
  const auto expected = acpi::firmware_tables({.vcpus = 1}, *rsdp);
  const auto written = a->vm->memory().at(*rsdp, ByteCount{expected.size()});
  ASSERT_TRUE(written);
  EXPECT_TRUE(std::equal(written->begin(), written->end(), expected.begin()));
}

TEST_F(BoardTest, AGuestThatMovesPrintsEveryByteOnceAndHearsItsUserThere) {
  auto a = host("a");
  if (!a) GTEST_SKIP() << error;
  auto b = host("b");
  ASSERT_TRUE(b) << error;
  start(*a);
  std::string text = read_exactly(a->client.get(), 100);
  ASSERT_EQ(text.size(), 100u);

  a->vm->pause();
  ByteWriter state;
  a->vm->save(state);
  const auto all = a->vm->memory().at(Gpa{0}, 16_MiB);
  ASSERT_TRUE(all);
  ASSERT_TRUE(b->vm->memory().write(Gpa{0}, *all));
  const auto loaded = b->vm->load(state.view(), std::nullopt);
  ASSERT_TRUE(loaded) << loaded.error().message;
  b->vm->resume();
  a->vm->shut_down();
  a->board->shut_down(Unsent::kDiscard);
  const UniqueFd old_client = std::move(a->client);
  a.reset();
  text += read_exactly(old_client.get(), SIZE_MAX);
  const size_t moved_at = text.size();
  text += read_exactly(b->client.get(), 100);
  ASSERT_EQ(text.size(), moved_at + 100);
  expect_alphabet(text, 0);

  ASSERT_EQ(::write(b->client.get(), "Q", 1), 1);
  EXPECT_EQ(b->events.wait_exit(), uint32_t{'Q'});
}

}  // namespace
}  // namespace godwit::devices
