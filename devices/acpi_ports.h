// The fixed ACPI hardware's ports and bits, for the device and for whoever writes the ACPI tables
// (ACPI specification 6.5, section 4.8 "ACPI Register Model").
#pragma once
#include <cstdint>

namespace godwit::devices {

inline constexpr uint64_t kAcpiPort = 0x600;
inline constexpr uint64_t kAcpiPorts = 16;

// Offsets in the block. FADT: PM1a_EVT_BLK = 0x600 (length 4), PM1a_CNT_BLK = 0x604 (length 2),
// SLEEP_CONTROL_REG = 0x60c and SLEEP_STATUS_REG = 0x60d (hardware-reduced ACPI), RESET_REG = 0x60e
// with RESET_VALUE 1.
inline constexpr uint64_t kPm1StatusOffset = 0x0;
inline constexpr uint64_t kPm1EnableOffset = 0x2;
inline constexpr uint64_t kPm1ControlOffset = 0x4;
inline constexpr uint64_t kSleepControlOffset = 0xc;
inline constexpr uint64_t kSleepStatusOffset = 0xd;
inline constexpr uint64_t kResetOffset = 0xe;
inline constexpr uint8_t kResetValue = 1;

// FADT: SCI_INT.
inline constexpr uint32_t kSciGsi = 9;

// 4.8.3.1: PM1 status and enable. The power button is the only event that happens; that of the
// global lock and the RTC's can be enabled, as every operating system does.
inline constexpr uint16_t kPm1GlobalLock = 1u << 5;
inline constexpr uint16_t kPm1PowerButton = 1u << 8;
inline constexpr uint16_t kPm1Rtc = 1u << 10;
inline constexpr uint16_t kPm1Enables = kPm1GlobalLock | kPm1PowerButton | kPm1Rtc;
// 4.8.3.2.1: PM1 control.
inline constexpr uint16_t kPm1SciEnable = 1u << 0;
inline constexpr unsigned kPm1SleepTypeShift = 10;
inline constexpr uint16_t kPm1SleepEnable = 1u << 13;
// 4.8.3.7: sleep control and status.
inline constexpr unsigned kSleepTypeShift = 2;
inline constexpr uint8_t kSleepEnable = 1u << 5;
inline constexpr uint8_t kSleepTypeMask = 7;

// The DSDT's \_S5: the sleep type that powers off, in both registers.
inline constexpr uint8_t kSleepTypeS5 = 5;
// PM1 control takes this one too: software without an ACPI interpreter writes 0x2000 to port 0x604
// because that is what powers QEMU's machines off.
inline constexpr uint8_t kSleepTypeS5Legacy = 0;

}  // namespace godwit::devices
