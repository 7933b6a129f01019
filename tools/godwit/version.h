#pragma once
#include <string_view>

namespace godwit::tools {
inline constexpr std::string_view kVersion = GODWIT_VERSION;
}
