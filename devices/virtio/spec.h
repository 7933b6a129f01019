// Numbers of virtio 1.2 (OASIS committee specification 01) that all devices share.
#pragma once
#include <cstdint>

namespace godwit::devices::virtio {

// 5: device types.
inline constexpr uint16_t kNet = 1;
inline constexpr uint16_t kBlock = 2;
inline constexpr uint16_t kConsole = 3;
inline constexpr uint16_t kEntropy = 4;
inline constexpr uint16_t kBalloon = 5;
inline constexpr uint16_t kVsock = 19;

// 2.1: device status.
inline constexpr uint8_t kAcknowledge = 1;
inline constexpr uint8_t kDriver = 2;
inline constexpr uint8_t kDriverOk = 4;
inline constexpr uint8_t kFeaturesOk = 8;
inline constexpr uint8_t kNeedsReset = 64;
inline constexpr uint8_t kFailed = 128;

// 6: features that are no device's own.
inline constexpr uint64_t feature(unsigned bit) {
  return uint64_t{1} << bit;
}
inline constexpr uint64_t kIndirect = feature(28);
inline constexpr uint64_t kEventIdx = feature(29);
inline constexpr uint64_t kVersion1 = feature(32);

// 2.7: the split virtqueue.
inline constexpr uint32_t kMaxQueueSize = 32768;
inline constexpr uint16_t kDescNext = 1;
inline constexpr uint16_t kDescWrite = 2;
inline constexpr uint16_t kDescIndirect = 4;
inline constexpr uint16_t kAvailNoInterrupt = 1;
inline constexpr uint16_t kUsedNoNotify = 1;

// 4.1: PCI.
inline constexpr uint16_t kPciVendor = 0x1af4;
inline constexpr uint16_t kPciDeviceBase = 0x1040;
inline constexpr uint16_t kNoVector = 0xffff;

}  // namespace godwit::devices::virtio
