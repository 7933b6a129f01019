// Is a page all zero?
#pragma once
#include <cstddef>

namespace godwit::migration {

// `page` is 4096 bytes, aligned to 64. The bytes may change while they are read; the answer is then
// that of some moment, and the page is dirty again anyway.
bool is_zero_page(const std::byte* page);

}  // namespace godwit::migration
