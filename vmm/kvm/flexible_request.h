// A KVM request that ends in a flexible array, with room for its entries behind it.
#pragma once
#include <array>
#include <cstddef>

namespace godwit::vmm {

// Zero-filled. `Head` is one of constants.h, `Entry` the type of the elements, `N` how many there
// is room for.
template <class Head, class Entry, size_t N>
class FlexibleRequest {
 public:
  [[nodiscard]] Head& head() { return *reinterpret_cast<Head*>(bytes_.data()); }
  [[nodiscard]] Entry& entry(size_t i) {
    return reinterpret_cast<Entry*>(bytes_.data() + sizeof(Head))[i];
  }

 private:
  alignas(8) std::array<std::byte, sizeof(Head) + N * sizeof(Entry)> bytes_{};
};

}  // namespace godwit::vmm
