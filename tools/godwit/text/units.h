// Quantities as people write them on a command line, and back.
//
// A number without a unit is refused (0 apart): QEMU reads "300" as milliseconds in one place and
// as seconds in another, and as bytes or MiB for sizes. Decimals are fine ("1.5G"), spaces and
// signs are not. Units are matched without regard to case, except where case carries the meaning:
// "Mbit" and "MB" count bits and bytes.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "vmm/base/clock.h"
#include "vmm/base/error.h"
#include "vmm/base/types.h"

namespace godwit::tools {

// Sizes: K, M, G, T and KiB, MiB, GiB, TiB are powers of 1024 (as QEMU's), KB, MB, GB, TB powers of
// 1000 (as libvirt's), B is bytes. The value must be whole bytes.
Result<ByteCount> parse_size(std::string_view text);

// Durations: ns, us, ms, s, m or min, h.
Result<Nanoseconds> parse_duration(std::string_view text);

// Bytes per second. Bits: bit, kbit, Mbit, Gbit, Tbit (powers of 1000); bytes: kB, MB, GB (powers
// of 1000), KiB, MiB, GiB (powers of 1024); each may end in "/s". A bare M or G is refused, since
// it is read as bits by one half of the world and as bytes by the other. 0 is "no limit".
Result<uint64_t> parse_bandwidth(std::string_view text);

// "512 B", "4.0 KiB", "1.25 GiB": three significant digits at most two after the point.
std::string format_size(uint64_t bytes);
// "812 ns", "41.2 us", "4.21 ms", "1.52 s", "2 m 05 s", "3 h 02 m".
std::string format_duration(Nanoseconds duration);
// "9.71 Gbit/s" (powers of 1000, as links are sold).
std::string format_bit_rate(double bytes_per_second);
// "812", "41.2 k", "4.21 M": a count with a decimal prefix.
std::string format_count(double count);

}  // namespace godwit::tools
