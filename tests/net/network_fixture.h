// Tests with interfaces of their own: each runs in a network namespace that goes with it. Root
// only.
#pragma once
#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

#include "devices/net/net_backend.h"
#include "vmm/base/fd.h"

namespace godwit::devices {

using Bytes = std::vector<std::byte>;

// Ethernet frames on an interface, as the rest of the host sees it.
class PacketSocket {
 public:
  explicit PacketSocket(const std::string& interface);
  void send(const Bytes& frame);
  // The next frame of that type which came in from the interface (what goes out there is skipped);
  // empty when none comes within a few seconds, or with `wait` false at once.
  Bytes receive(uint16_t type, bool wait = true);

 private:
  UniqueFd fd_;
};

class NetworkTest : public testing::Test {
 protected:
  // Skips where there are no namespaces or no tap interfaces.
  void SetUp() override;
  void TearDown() override;
  // Runs "ip WORDS": fails the test when that fails.
  static void ip(std::string_view words);
  // Whether this kernel has that.
  static bool try_ip(std::string_view words);
  static bool exists(const std::string& interface);

 private:
  UniqueFd home_;
};

// An untagged frame of an experimental type, unlike every other `number`.
Bytes numbered_frame(uint16_t number);
inline constexpr uint16_t kExperimentalType = 0x88b5;  // IEEE 802, local experimental

// As a guest: `header` is 12 bytes, or empty for none.
NetResult guest_sends(NetBackend& backend, size_t pair, const Bytes& frame,
                      const Bytes& header = Bytes(kVnetHeaderBytes));
// The next frame with its vnet header that has that type, in any of the first `pairs`; empty when
// none comes within a few seconds, or with `wait` false at once.
Bytes guest_receives(NetBackend& backend, uint16_t type, bool wait = true, size_t pairs = 1);
// Without the header.
Bytes without_header(const Bytes& frame);

}  // namespace godwit::devices
