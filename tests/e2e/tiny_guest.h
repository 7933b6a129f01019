// Guests of a few instructions, entered in 32-bit protected mode by their PVH note.
#pragma once
#include <filesystem>
#include <initializer_list>

namespace godwit::e2e {

// mov $0x2000, %ax; out %ax, $0x604: ACPI's sleep enable
inline constexpr std::initializer_list<int> kPowerOff{0x66, 0xba, 0x04, 0x06, 0x66,
                                                      0xb8, 0x00, 0x20, 0x66, 0xef};
// mov $0xfe, %al; out %al, $0x64: the keyboard controller's reset line
inline constexpr std::initializer_list<int> kReset{0xb0, 0xfe, 0xe6, 0x64};
// mov $5, %al; out %al, $0xf4
inline constexpr std::initializer_list<int> kDebugExit5{0xb0, 0x05, 0xe6, 0xf4};
// mov $'H', %al; mov $0x3f8, %dx; out %al, %dx; and kDebugExit5
inline constexpr std::initializer_list<int> kPrintH{0xb0, 0x48, 0x66, 0xba, 0xf8, 0x03,
                                                    0xee, 0xb0, 0x05, 0xe6, 0xf4};
// mov $0x602, %dx; mov $0x100, %ax; out %ax, %dx: listens to the power button;
// mov $0x3f8, %dx; mov $'H', %al; out %al, %dx: and says so
inline constexpr std::initializer_list<int> kIgnoreButton{0x66, 0xba, 0x02, 0x06, 0x66, 0xb8,
                                                          0x00, 0x01, 0x66, 0xef, 0x66, 0xba,
                                                          0xf8, 0x03, 0xb0, 0x48, 0xee};
// The same; 1: mov $0x600, %dx; in %dx, %ax; test $1, %ah; jz 1b: until it was pressed;
// and kPowerOff
inline constexpr std::initializer_list<int> kHeedButton{
    0x66, 0xba, 0x02, 0x06, 0x66, 0xb8, 0x00, 0x01, 0x66, 0xef, 0x66, 0xba, 0xf8,
    0x03, 0xb0, 0x48, 0xee, 0x66, 0xba, 0x00, 0x06, 0x66, 0xed, 0xf6, 0xc4, 0x01,
    0x74, 0xf5, 0x66, 0xba, 0x04, 0x06, 0x66, 0xb8, 0x00, 0x20, 0x66, 0xef};
// mov $'H', %al; mov $0x3f8, %dx; out %al, %dx; and kReset
inline constexpr std::initializer_list<int> kPrintHAndReset{0xb0, 0x48, 0x66, 0xba, 0xf8, 0x03,
                                                            0xee, 0xb0, 0xfe, 0xe6, 0x64};
// Nothing at all.
inline constexpr std::initializer_list<int> kIdle{};

// Writes an ELF image that does `code` and then halts for ever.
void write_tiny_guest(const std::filesystem::path& path, std::initializer_list<int> code);

}  // namespace godwit::e2e
