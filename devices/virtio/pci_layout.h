// The layout of a virtio function's BARs. Numbers of registers: virtio 1.2, 4.1.4.
#pragma once
#include <cstdint>

namespace godwit::devices::virtio {

inline constexpr uint32_t kSlotStride = 0x10000;  // BARs of a slot, at first
inline constexpr unsigned kRegisterBar = 0;
inline constexpr uint32_t kRegisterBarSize = 0x4000;
inline constexpr unsigned kMsixBar = 1;
inline constexpr uint32_t kMsixBarSize = 0x2000;
inline constexpr uint32_t kPendingOffset = 0x1000;

inline constexpr uint32_t kAreaSize = 0x1000;
inline constexpr uint32_t kCommonOffset = 0x0000;
inline constexpr uint32_t kCommonSize = 0x38;
inline constexpr uint32_t kIsrOffset = 0x1000;
inline constexpr uint32_t kDeviceOffset = 0x2000;
inline constexpr uint32_t kNotifyOffset = 0x3000;
inline constexpr uint32_t kNotifyStride = 4;
inline constexpr uint32_t kMaxQueues = 64;

// cfg_type.
inline constexpr uint8_t kCommonType = 1;
inline constexpr uint8_t kNotifyType = 2;
inline constexpr uint8_t kIsrType = 3;
inline constexpr uint8_t kDeviceType = 4;
inline constexpr uint8_t kWindowType = 5;
// Of the window capability.
inline constexpr uint32_t kWindowBar = 4;
inline constexpr uint32_t kWindowOffset = 8;
inline constexpr uint32_t kWindowLength = 12;
inline constexpr uint32_t kWindowData = 16;

// The common configuration structure.
inline constexpr uint32_t kDeviceFeatureSelect = 0;
inline constexpr uint32_t kDeviceFeature = 4;
inline constexpr uint32_t kDriverFeatureSelect = 8;
inline constexpr uint32_t kDriverFeature = 12;
inline constexpr uint32_t kConfigVector = 16;
inline constexpr uint32_t kNumQueues = 18;
inline constexpr uint32_t kDeviceStatus = 20;
inline constexpr uint32_t kGeneration = 21;
inline constexpr uint32_t kQueueSelect = 22;
inline constexpr uint32_t kQueueSize = 24;
inline constexpr uint32_t kQueueVector = 26;
inline constexpr uint32_t kQueueEnable = 28;
inline constexpr uint32_t kQueueNotifyOff = 30;
inline constexpr uint32_t kQueueDescriptors = 32;
inline constexpr uint32_t kQueueDriver = 40;
inline constexpr uint32_t kQueueDevice = 48;

}  // namespace godwit::devices::virtio
