// Opening the queues of a tap interface (Documentation/networking/tuntap.rst of Linux).
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "devices/net/net_config.h"
#include "vmm/base/error.h"
#include "vmm/base/fd.h"

namespace godwit::devices {

// Everything is set up: no packet information, a vnet header of 12 bytes, little-endian, all
// offloads off, non-blocking, every queue attached.
struct OpenTap {
  std::string name;
  std::vector<UniqueFd> queues;
  std::optional<uint16_t> mtu;
};

// Opens (and with create makes, brings up and gives the MTU to) config.tap, or takes over
// config.fds: on success they are owned, on an error they stay open and the caller's.
// A created interface has no other owner than its queues: it goes with the last of them, however
// this process ends. An existing one is not brought up or down.
//
// Errors name the interface and say what to do: kNotFound, kAlreadyExists (create: it exists;
// else: another program has it open), kInvalidArgument (no tap, queue mode, MTU), kPermission,
// kUnsupported (the host has no tap interfaces), kExhausted, kIo.
Result<OpenTap> open_tap(const NetConfig& config);

}  // namespace godwit::devices
