// The bytes of each protocol version, as they were on the day it was fixed. A test here that fails
// says that an older Godwit would no longer understand this one: add a version instead of changing
// the file. GODWIT_WRITE_GOLDEN=1 prints the lines that a new version's file needs.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <map>

#include "migration/page/frame.h"
#include "migration/storage/storage_frame.h"
#include "migration/wire/message_channel.h"
#include "tests/support/memory_channel.h"

namespace godwit::migration {
namespace {

using namespace wire;

std::string hex(std::span<const std::byte> bytes) {
  std::string text;
  for (const std::byte b : bytes) text += fmt::format("{:02x}", static_cast<unsigned>(b));
  return text;
}

// What one message is on the wire, header and all.
template <class Send>
std::string message(Send send) {
  auto [a, b] = support::make_memory_pair();
  MessageChannel sender(std::move(a));
  EXPECT_TRUE(send(sender));
  std::vector<std::byte> bytes(sender.raw().stats().bytes_sent);
  EXPECT_TRUE(b->receive(MutableBuffer(bytes)));
  return hex(bytes);
}

SessionId session() {
  SessionId id;
  for (size_t i = 0; i < id.size(); ++i) id[i] = static_cast<std::byte>(i * 17);
  return id;
}

vmm::MachineDescription machine() {
  return {.arch = "x86_64",
          .memory_size = 64_MiB,
          .vcpus = 2,
          .devices = {{"serial-16550", 0, 1}, {"rtc-cmos", 0, 1}},
          .cpu = {std::byte{1}, std::byte{2}}};
}

std::map<std::string, std::string> encoded_now() {
  std::map<std::string, std::string> lines;
  lines["preamble"] = hex(encode(Preamble{.version_min = 1,
                                          .version_max = 1,
                                          .role = Role::kData,
                                          .channel = 3,
                                          .session = session()}));
  lines["hello"] = message([](auto& c) {
    return c.send(MessageType::kHello, Hello{.channels = 4, .verify = true, .software = "godwit"});
  });
  lines["machine"] = message([](auto& c) { return c.send_machine(machine()); });
  lines["ping"] = message([](auto& c) { return c.send(MessageType::kPing, Ping{7}); });
  lines["residue"] = message([](auto& c) { return c.send(MessageType::kResidue, Residue{5}); });
  ByteWriter sections;
  vmm::write_section({"x86-vcpu", 1, 2, true, {std::byte{9}}}, sections);
  lines["state"] = message([&](auto& c) { return c.send_state({false, 6, -3}, sections.view()); });
  lines["commit"] = message([](auto& c) { return c.send(MessageType::kCommit); });
  lines["abort"] = message([](auto& c) {
    return c.send(MessageType::kAbort, Text{Errc::kTimeout, "too slow"});
  });
  lines["hello-ack"] = message([](auto& c) {
    return c.send(MessageType::kHelloAck, HelloAck{1, "godwit"});
  });
  lines["accepted"] = message([](auto& c) { return c.send(MessageType::kAccepted); });
  lines["ready"] = message([](auto& c) { return c.send(MessageType::kReady); });
  lines["pong"] = message([](auto& c) { return c.send(MessageType::kPong, Pong{7, -2}); });
  lines["loaded"] = message([](auto& c) {
    return c.send(MessageType::kLoaded, Loaded{false, 1, 2, 3});
  });
  lines["resumed"] = message([](auto& c) { return c.send(MessageType::kResumed, Resumed{1, 2}); });
  Settled settled{.total_ns = 1000, .iterations = 4, .channels = 2, .lz4_bytes_out = 9};
  settled.ledger.phases[2] = Nanoseconds(77);
  lines["settled"] = message([&](auto& c) { return c.send(MessageType::kSettled, settled); });
  lines["failed"] = message([](auto& c) {
    return c.send(MessageType::kFailed, Text{Errc::kExhausted, "no memory"});
  });
  lines["outcome"] = message(
      [](auto& c) { return c.send(MessageType::kOutcome, Outcome{OutcomeState::kAborted}); });
  ByteWriter frame;
  const PageGroup groups[] = {{3, 0b101, 0b010}, {100, 0, ~uint64_t{0}}};
  encode_frame({.codec = Codec::kLz4,
                .iteration = 2,
                .data_pages = 2,
                .payload_bytes = 77,
                .payload_checksum = 0x1122334455667788},
               groups, frame);
  lines["page-frame"] = hex(frame.view());
  lines["acknowledgement"] = hex(encode_ack(9));
  return lines;
}

// What version 2 has beside it.
std::map<std::string, std::string> encoded_now_v2() {
  std::map<std::string, std::string> lines;
  lines["preamble"] = hex(encode(
      Preamble{.version_min = 2, .version_max = 2, .role = Role::kStorage, .session = session()}));
  vmm::MachineDescription with_disks = machine();
  with_disks.guest_id = 5;
  with_disks.volumes = {{"disk0", 1 << 20, "host:file:1:2"}};
  lines["machine"] = message([&](auto& c) { return c.send_machine(with_disks); });
  ByteWriter frame;
  encode_storage_frame({.codec = Codec::kLz4,
                        .volume = 1,
                        .pass = 2,
                        .payload_bytes = 77,
                        .offset = 65536,
                        .length = 4096,
                        .payload_checksum = 0x1122334455667788},
                       frame);
  lines["storage-frame"] = hex(frame.view());
  lines["storage-acknowledgement"] = hex(encode_storage_ack({3, Nanoseconds(1234)}));
  return lines;
}

void compare(const std::map<std::string, std::string>& now, const std::string& path) {
  // NOLINTNEXTLINE(concurrency-mt-unsafe): nobody sets it
  if (std::getenv("GODWIT_WRITE_GOLDEN") != nullptr) {
    for (const auto& [name, bytes] : now) fmt::print("{} {}\n", name, bytes);
    GTEST_SKIP() << "printed, not compared";
  }
  std::ifstream file(path);
  ASSERT_TRUE(file) << path;
  std::map<std::string, std::string> golden;
  std::string name;
  std::string bytes;
  while (file >> name >> bytes) golden[name] = bytes;
  EXPECT_EQ(now, golden);
}

TEST(Golden, ProtocolVersion1HasNotChanged) {
  compare(encoded_now(), GODWIT_GOLDEN_DIR "/wire-v1.txt");
}

TEST(Golden, ProtocolVersion2HasNotChanged) {
  compare(encoded_now_v2(), GODWIT_GOLDEN_DIR "/wire-v2.txt");
}

}  // namespace
}  // namespace godwit::migration
