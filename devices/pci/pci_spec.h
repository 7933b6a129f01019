// Offsets and bits of PCI configuration space that are used here. Source: PCI Local Bus 3.0,
// chapter 6 (header, command, BARs), 6.8.2 (MSI-X); PCI Express Base 4.0, 7.2.2 (ECAM).
#pragma once
#include <cstdint>

namespace godwit::devices::pci {

inline constexpr uint64_t kConfigPort = 0xcf8;  // address at 0xcf8, data at 0xcfc
inline constexpr uint64_t kConfigPorts = 8;
inline constexpr uint32_t kConfigEnable = 1u << 31;

inline constexpr unsigned kSlots = 32;          // of bus 0
inline constexpr unsigned kEcamSlotShift = 15;  // device number in an ECAM offset
inline constexpr unsigned kEcamFunctionShift = 12;

// Header, type 0.
inline constexpr uint16_t kVendorId = 0x00;
inline constexpr uint16_t kDeviceId = 0x02;
inline constexpr uint16_t kCommand = 0x04;
inline constexpr uint16_t kStatus = 0x06;
inline constexpr uint16_t kRevision = 0x08;
inline constexpr uint16_t kClass = 0x09;  // programming interface, subclass, base class
inline constexpr uint16_t kHeaderType = 0x0e;
inline constexpr uint16_t kBar0 = 0x10;
inline constexpr uint16_t kSubsystemVendor = 0x2c;
inline constexpr uint16_t kSubsystem = 0x2e;
inline constexpr uint16_t kCapabilities = 0x34;
inline constexpr uint16_t kInterruptLine = 0x3c;
inline constexpr uint16_t kHeaderEnd = 0x40;

inline constexpr uint16_t kCommandMemory = 1u << 1;
inline constexpr uint16_t kCommandMaster = 1u << 2;
inline constexpr uint16_t kCommandIntxOff = 1u << 10;
inline constexpr uint16_t kStatusCapabilities = 1u << 4;

inline constexpr unsigned kBars = 6;

inline constexpr uint8_t kCapabilityVendor = 0x09;
inline constexpr uint8_t kCapabilityMsix = 0x11;

// MSI-X: message control and table entry.
inline constexpr uint16_t kMsixEnable = 1u << 15;
inline constexpr uint16_t kMsixMaskAll = 1u << 14;
inline constexpr uint32_t kMsixEntrySize = 16;
inline constexpr uint32_t kMsixEntryMask = 1u << 0;

}  // namespace godwit::devices::pci
