#include "devices/virtio/vsock/vsock.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include "devices/virtio/spec.h"
#include "tests/devices/console_fixture.h"
#include "tests/devices/state_torture.h"
#include "tests/virtio/machine.h"

namespace godwit::devices::virtio {
namespace {

using vsock::Connection;
using vsock::kHeaderBytes;
using vsock::Packet;

constexpr uint32_t kCid = 7;
constexpr uint16_t kSize = 16;
constexpr Gpa kReceived{4 << 20};
constexpr uint32_t kReceiveBytes = 8192;
constexpr Gpa kSent{8 << 20};
constexpr Gpa kEvent{12 << 20};

// The guest's side of the protocol, one packet at a time.
class Guest {
 public:
  explicit Guest(TestMachine& machine) : machine_(&machine) {}
  void use(TestMachine& machine) { machine_ = &machine; }

  void offer_buffer() {
    machine_->driver.queue(0).add({{kReceived, kReceiveBytes, true}}, 0);
    machine_->driver.kick(0);
  }
  // Waits for the next packet, whose bytes are in `data` then.
  Packet next() {
    offer_buffer();
    const auto used = machine_->driver.queue(0).wait_used(1);
    if (used.size() != 1) {
      ADD_FAILURE() << "no packet came";
      return {};
    }
    const auto bytes = machine_->memory->at(kReceived, ByteCount{used[0].written}).value();
    Chain chain;
    chain.readable = {{kReceived, bytes}};
    chain.readable_bytes = bytes.size();
    const Packet packet = vsock::read_packet(chain);
    EXPECT_EQ(packet.source_cid, vsock::kHostCid);
    EXPECT_EQ(packet.destination_cid, kCid);
    EXPECT_EQ(packet.length, bytes.size() - kHeaderBytes);
    data = machine_->text(kReceived + kHeaderBytes, packet.length);
    return packet;
  }
  Packet expect(uint16_t operation) {
    const Packet packet = next();
    EXPECT_EQ(packet.operation, operation);
    return packet;
  }
  // With room for 64 KiB unless the packet says otherwise.
  void send(Packet packet, std::string_view payload = {}) {
    packet.source_cid = kCid;
    packet.destination_cid = vsock::kHostCid;
    packet.length = static_cast<uint32_t>(payload.size());
    if (packet.type == 0) packet.type = vsock::kStream;
    if (packet.buffer_size == 0) packet.buffer_size = buffer_size;
    if (packet.forwarded == 0) packet.forwarded = forwarded;
    send_raw(packet, payload);
  }
  void send_raw(const Packet& packet, std::string_view payload) {
    Chain header;
    header.writable = {{kSent, machine_->memory->at(kSent, ByteCount{kHeaderBytes}).value()}};
    header.writable_bytes = kHeaderBytes;
    vsock::write_packet(header, packet);
    machine_->write(kSent + kHeaderBytes, payload);
    const auto length = static_cast<uint32_t>(kHeaderBytes + payload.size());
    // In two pieces that do not end where the header does.
    machine_->driver.queue(1).add({{kSent, 20}, {kSent + 20, length - 20}}, 0);
    machine_->driver.kick(1);
    EXPECT_EQ(machine_->driver.queue(1).wait_used(1).size(), 1u);
  }
  // The answer to a packet of the host.
  static Packet answer(const Packet& to, uint16_t operation, uint32_t flags = 0) {
    return {.source_port = to.destination_port,
            .destination_port = to.source_port,
            .operation = operation,
            .flags = flags};
  }

  std::string data;
  uint32_t buffer_size = 64 << 10;
  uint32_t forwarded = 0;

 private:
  TestMachine* machine_;
};

class VsockTest : public testing::Test {
 protected:
  std::unique_ptr<Model> make_vsock(const std::string& name) {
    return Vsock::open({.cid = kCid, .path = directory_.file(name)}).value();
  }
  void SetUp() override {
    a_->device.resume();
    a_->driver.start(kEventIdx, 3, kSize);
  }
  UniqueFd connect_and_ask(uint32_t port) {
    UniqueFd fd = connect_unix(directory_.file("a"));
    say(fd, fmt::format("CONNECT {}\n", port));
    return fd;
  }
  static void say(const UniqueFd& fd, std::string_view text) {
    ASSERT_EQ(::write(fd.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
  }
  // A stream that the host began: its end there and the guest's idea of it.
  struct Stream {
    UniqueFd fd;
    Packet request;
  };
  Stream open_from_host(uint32_t port = 1024) {
    Stream stream{connect_and_ask(port), {}};
    stream.request = guest_.expect(vsock::kRequest);
    EXPECT_EQ(stream.request.destination_port, port);
    guest_.send(Guest::answer(stream.request, vsock::kResponse));
    const std::string ok = fmt::format("OK {}\n", stream.request.source_port);
    EXPECT_EQ(read_exactly(stream.fd.get(), ok.size()), ok);
    return stream;
  }

  TemporaryDirectory directory_;
  std::unique_ptr<TestMachine> a_ = std::make_unique<TestMachine>(make_memory(), make_vsock("a"));
  Guest guest_{*a_};
};

TEST_F(VsockTest, SaysItsCid) {
  EXPECT_EQ(a_->driver.read_device(0, 8), kCid);
  EXPECT_EQ(a_->device.traits(), "slot=3;cid=7");
}

TEST_F(VsockTest, AHostProgramTalksToTheGuest) {
  const Stream stream = open_from_host();
  say(stream.fd, "ping");
  const Packet ping = guest_.expect(vsock::kData);
  EXPECT_EQ(guest_.data, "ping");
  guest_.send(Guest::answer(ping, vsock::kData), "pong");
  EXPECT_EQ(read_exactly(stream.fd.get(), 4), "pong");
}

TEST_F(VsockTest, WhatFollowsTheGreetingAtOnceIsTheStreams) {
  const UniqueFd fd = connect_unix(directory_.file("a"));
  say(fd, "CONN");
  say(fd, "ECT 5\nearly");
  const Packet request = guest_.expect(vsock::kRequest);
  guest_.send(Guest::answer(request, vsock::kResponse));
  guest_.expect(vsock::kData);
  EXPECT_EQ(guest_.data, "early");
}

TEST_F(VsockTest, AGreetingThatIsNoneEndsTheConnection) {
  for (const char* text : {"CONNECT x\n", "CONNECT 99999999999\n", "HELLO 1\n", "\n",
                           "CONNECT 1111111111111111111111111111111111111"}) {
    const UniqueFd fd = connect_unix(directory_.file("a"));
    say(fd, text);
    EXPECT_EQ(read_exactly(fd.get(), 1), "") << text;
  }
}

TEST_F(VsockTest, TheGuestsRefusalEndsTheHostsConnection) {
  const UniqueFd fd = connect_and_ask(9);
  const Packet request = guest_.expect(vsock::kRequest);
  guest_.send(Guest::answer(request, vsock::kReset));
  EXPECT_EQ(read_exactly(fd.get(), 1), "");
}

TEST_F(VsockTest, TheGuestConnectsToASocketOfTheHost) {
  auto listener = UnixListener::open("test", directory_.file("a_52"), 4).value();
  guest_.send({.source_port = 1000, .destination_port = 52, .operation = vsock::kRequest});
  const Packet response = guest_.expect(vsock::kResponse);
  EXPECT_EQ(response.source_port, 52u);
  EXPECT_EQ(response.destination_port, 1000u);
  const UniqueFd host(::accept4(listener.fd(), nullptr, nullptr, SOCK_CLOEXEC));
  ASSERT_TRUE(host);
  guest_.send(Guest::answer(response, vsock::kData), "hello");
  EXPECT_EQ(read_exactly(host.get(), 5), "hello");
}

TEST_F(VsockTest, ResetsWhatItDoesNotKnow) {
  guest_.send({.source_port = 1000, .destination_port = 53, .operation = vsock::kRequest});
  EXPECT_EQ(guest_.expect(vsock::kReset).source_port, 53u);
  guest_.send({.source_port = 1, .destination_port = 2, .operation = vsock::kData}, "stray");
  EXPECT_EQ(guest_.expect(vsock::kReset).destination_port, 1u);
  guest_.send({.source_port = 1, .destination_port = 2, .type = 9, .operation = vsock::kRequest});
  EXPECT_EQ(guest_.expect(vsock::kReset).type, 9);
  // A reset is never answered, nor is what is not meant for the host.
  guest_.send({.source_port = 1, .destination_port = 2, .operation = vsock::kReset});
  guest_.send_raw({.source_cid = kCid, .destination_cid = 99, .type = 1, .operation = 1}, "");
  guest_.send_raw({.source_cid = 8, .destination_cid = 2, .type = 1, .operation = 1}, "");
  guest_.send({.source_port = 5, .destination_port = 6, .operation = 77});
  EXPECT_EQ(guest_.expect(vsock::kReset).destination_port, 5u);
}

TEST_F(VsockTest, SendsNoMoreThanTheGuestHasRoomFor) {
  guest_.buffer_size = 6000;
  const Stream stream = open_from_host();
  say(stream.fd, std::string(10'000, 'x'));
  size_t got = 0;
  while (got < 6000) {
    guest_.expect(vsock::kData);
    got += guest_.data.size();
  }
  EXPECT_EQ(got, 6000u);
  guest_.forwarded = 4500;
  guest_.send(Guest::answer(stream.request, vsock::kCreditUpdate));
  while (got < 10'000) {
    guest_.expect(vsock::kData);
    got += guest_.data.size();
  }
  EXPECT_EQ(got, 10'000u);
}

TEST_F(VsockTest, BuffersWhatTheHostDoesNotTakeAndSaysWhenThereIsRoomAgain) {
  const Stream stream = open_from_host();
  std::string sent;
  // The host's socket takes some, and kBufferBytes stay here.
  const auto credit = [&] {
    guest_.send(Guest::answer(stream.request, vsock::kCreditRequest));
    return guest_.expect(vsock::kCreditUpdate);
  };
  for (;;) {
    const Packet update = credit();
    const uint32_t room =
        update.buffer_size - (static_cast<uint32_t>(sent.size()) - update.forwarded);
    if (room == 0) break;
    ASSERT_LE(room, Connection::kBufferBytes);
    const std::string part(std::min<uint32_t>(room, 50'000),
                           static_cast<char>('a' + sent.size() % 23));
    guest_.send(Guest::answer(stream.request, vsock::kData), part);
    sent += part;
  }
  EXPECT_GE(sent.size(), Connection::kBufferBytes);
  std::string got = read_exactly(stream.fd.get(), sent.size() / 2 + Connection::kBufferBytes / 2);
  guest_.expect(vsock::kCreditUpdate);
  got += read_exactly(stream.fd.get(), sent.size() - got.size());
  EXPECT_EQ(got, sent);
}

TEST_F(VsockTest, EndsAStreamThatOverdrawsItsCredit) {
  const Stream stream = open_from_host();
  const std::string part(Connection::kBufferBytes, 'x');
  bool reset = false;
  for (int i = 0; i < 40 && !reset; ++i) {
    guest_.send(Guest::answer(stream.request, vsock::kData), part);
    guest_.send(Guest::answer(stream.request, vsock::kCreditRequest));
    for (bool answered = false; !answered && !reset;) {
      const Packet packet = guest_.next();
      reset = packet.operation == vsock::kReset;
      answered = packet.operation == vsock::kCreditUpdate;
    }
  }
  EXPECT_TRUE(reset);
}

TEST_F(VsockTest, TheHostsEndOfFileBecomesAShutdown) {
  const Stream half = open_from_host(1);
  ::shutdown(half.fd.get(), SHUT_WR);
  EXPECT_EQ(guest_.expect(vsock::kShutdown).flags, vsock::kWontSend);
  guest_.send(Guest::answer(half.request, vsock::kData), "still");
  EXPECT_EQ(read_exactly(half.fd.get(), 5), "still");

  Stream whole = open_from_host(2);
  say(whole.fd, "last words");
  whole.fd.reset();
  guest_.expect(vsock::kData);
  EXPECT_EQ(guest_.data, "last words");
  EXPECT_EQ(guest_.expect(vsock::kShutdown).flags, vsock::kWontSend | vsock::kWontReceive);
  guest_.send(Guest::answer(whole.request, vsock::kReset));
}

TEST_F(VsockTest, TheGuestsShutdownReachesTheHostAfterItsBytes) {
  const Stream stream = open_from_host();
  guest_.send(Guest::answer(stream.request, vsock::kData), "last words");
  guest_.send(
      Guest::answer(stream.request, vsock::kShutdown, vsock::kWontSend | vsock::kWontReceive));
  guest_.expect(vsock::kReset);
  EXPECT_EQ(read_exactly(stream.fd.get(), 100), "last words");
}

TEST_F(VsockTest, HasABoundOnStreamsAndMakesRoomForNewOnes) {
  std::vector<UniqueFd> fds;
  // Never answered: some go when there are too many.
  for (size_t i = 0; i < vsock::Streams::kMostConnections + 3; ++i) {
    fds.push_back(connect_and_ask(static_cast<uint32_t>(i)));
    if (i >= vsock::Streams::kMostConnections) guest_.expect(vsock::kReset);
    guest_.expect(vsock::kRequest);
  }
  size_t ended = 0;
  for (const UniqueFd& fd : fds) {
    char byte;
    if (::recv(fd.get(), &byte, 1, MSG_DONTWAIT) == 0) ++ended;
  }
  EXPECT_EQ(ended, 3u);
}

TEST_F(VsockTest, StandsStillOnAPacketThatLies) {
  const auto start_again = [&] {
    EXPECT_NE(a_->driver.status() & kNeedsReset, 0);
    a_->driver.start(0, 3, kSize);
  };
  a_->driver.queue(1).add({{kSent, kHeaderBytes - 1}}, 0);
  a_->driver.kick(1);
  ASSERT_TRUE(a_->msi.wait_for(3, 1));
  start_again();
  const Packet lie{.source_cid = kCid, .destination_cid = 2, .length = 101};
  Chain header;
  header.writable = {{kSent, a_->memory->at(kSent, ByteCount{kHeaderBytes}).value()}};
  header.writable_bytes = kHeaderBytes;
  vsock::write_packet(header, lie);
  a_->driver.queue(1).add({{kSent, kHeaderBytes + 100}}, 0);
  a_->driver.kick(1);
  ASSERT_TRUE(a_->msi.wait_for(3, 2));
  start_again();
  a_->driver.queue(0).add({{kReceived, kHeaderBytes, true}}, 0);
  a_->driver.kick(0);
  const UniqueFd fd = connect_and_ask(1);
  ASSERT_TRUE(a_->msi.wait_for(3, 3));
  start_again();
  (void)open_from_host();
}

// The guest never fetches the answers to what it sends.
TEST_F(VsockTest, StopsListeningToAGuestThatTakesNoReplies) {
  a_->write(kSent, std::string(kHeaderBytes, '\0'));
  Chain header;
  header.writable = {{kSent, a_->memory->at(kSent, ByteCount{kHeaderBytes}).value()}};
  header.writable_bytes = kHeaderBytes;
  vsock::write_packet(header,
                      {.source_cid = kCid, .destination_cid = 2, .type = 1, .operation = 5});
  const size_t most = vsock::Streams::kMostReplies;
  size_t taken = 0;
  for (size_t i = 0; i < most; ++i) {
    a_->driver.queue(1).add({{kSent, kHeaderBytes}}, 0);
    a_->driver.kick(1);
    taken += a_->driver.queue(1).wait_used(1).size();
  }
  EXPECT_EQ(taken, most);
  a_->driver.queue(1).add({{kSent, kHeaderBytes}}, 0);
  a_->driver.kick(1);
  a_->device.quiesce();  // the doorbell has been heard by now
  EXPECT_TRUE(a_->driver.queue(1).take_used().empty());
  a_->device.resume();
  guest_.expect(vsock::kReset);
  EXPECT_EQ(a_->driver.queue(1).wait_used(1).size(), 1u);
}

TEST_F(VsockTest, AResetOfTheDeviceEndsAllStreams) {
  const Stream stream = open_from_host();
  a_->driver.reset();
  EXPECT_EQ(read_exactly(stream.fd.get(), 1), "");
}

TEST_F(VsockTest, AStreamOutlivesAPause) {
  const Stream stream = open_from_host();
  a_->device.quiesce();
  say(stream.fd, "while you slept");
  a_->device.resume();
  guest_.expect(vsock::kData);
  EXPECT_EQ(guest_.data, "while you slept");
}

TEST_F(VsockTest, TellsTheGuestOfAMoveAndForgetsItsStreams) {
  a_->driver.queue(2).add({{kEvent, 4, true}}, 0);
  a_->write(kEvent, "####");
  a_->driver.kick(2);
  const Stream stream = open_from_host();
  auto b = move_to(*a_, make_vsock("b"));
  guest_.use(*b);
  EXPECT_EQ(b->driver.queue(2).used_index(), 0);
  b->device.resume();
  const auto used = b->driver.queue(2).wait_used(1);
  ASSERT_EQ(used.size(), 1u);
  EXPECT_EQ(used[0].written, 4u);
  EXPECT_EQ(b->text(kEvent, 4), std::string(4, '\0'));
  guest_.send(Guest::answer(stream.request, vsock::kData), "stray");
  guest_.expect(vsock::kReset);
  a_.reset();
  EXPECT_EQ(read_exactly(stream.fd.get(), 1), "");
  // New streams come up at once.
  const UniqueFd fd = connect_unix(directory_.file("b"));
  say(fd, "CONNECT 3\n");
  guest_.expect(vsock::kRequest);
}

TEST_F(VsockTest, TellsOfAMoveWhenTheGuestHasABufferForIt) {
  auto b = move_to(*a_, make_vsock("b"));
  b->device.resume();
  auto c = move_to(*b, make_vsock("c"));
  c->device.resume();
  c->driver.queue(2).add({{kEvent, 4, true}}, 0);
  c->driver.kick(2);
  EXPECT_EQ(c->driver.queue(2).wait_used(1).size(), 1u);
}

TEST_F(VsockTest, AMoveThatDidNotHappenTellsNothing) {
  a_->driver.queue(2).add({{kEvent, 4, true}}, 0);
  a_->driver.kick(2);
  const Stream stream = open_from_host();
  auto b = move_to(*a_, make_vsock("b"));
  a_->driver = Driver(std::move(b->driver), a_->device);
  b.reset();
  a_->device.resume();
  say(stream.fd, "alive");
  guest_.expect(vsock::kData);
  EXPECT_EQ(guest_.data, "alive");
  EXPECT_EQ(a_->driver.queue(2).used_index(), 0);
}

TEST_F(VsockTest, StandsAnyState) {
  a_->device.quiesce();
  const auto state = saved(a_->device);
  int number = 0;
  struct Fixture {
    Fixture(const std::shared_ptr<vmm::GuestMemory>& memory, std::unique_ptr<Model> model)
        : machine(memory, std::move(model)) {}
    TestMachine machine;
    PciDevice& device = machine.device;
  };
  torture_state(state, [&] {
    return std::make_unique<Fixture>(a_->memory, make_vsock(fmt::format("t{}", number++)));
  });
}

TEST(VsockOption, IsParsedAndRefusedByName) {
  const auto good = parse_vsock("path=/run/x=y,cid=3");
  ASSERT_TRUE(good);
  EXPECT_EQ(good->cid, 3u);
  EXPECT_EQ(good->path, "/run/x=y");
  for (const char* bad : {"", "cid=3", "path=/x", "cid=2,path=/x", "cid=4294967295,path=/x",
                          "cid=x,path=/x", "cid=3,cid=4,path=/x", "cid=3,path=/x,mac=1", "3,/x"}) {
    const auto result = parse_vsock(bad);
    ASSERT_FALSE(result) << bad;
    EXPECT_NE(result.error().message.find("write cid=N,path=SOCKET"), std::string::npos);
  }
}

TEST(VsockOption, APathThatLeavesNoRoomForPortsIsRefused) {
  const auto refused = Vsock::open({.cid = 3, .path = "/tmp/" + std::string(95, 'x')});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::kInvalidArgument);
}

}  // namespace
}  // namespace godwit::devices::virtio
