#include "vmm/x86/vcpu_state.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <random>

#include "vmm/x86/chips.h"

namespace godwit::vmm::x86 {
namespace {

constexpr uint32_t kMsrs[] = {0x174, 0x277, 0xc0000102};
constexpr uint32_t kXsaveBytes = 4096;

// Fills every byte that may be anything, so that a field that is forgotten shows.
template <class T>
void fill(T& object, std::mt19937_64& random) {
  for (auto& byte : std::as_writable_bytes(std::span(&object, 1))) byte = std::byte(random());
}

VcpuState sample(uint64_t seed) {
  std::mt19937_64 random(seed);
  VcpuState state(kMsrs, kXsaveBytes);
  fill(state.regs, random);
  fill(state.sregs, random);
  fill(state.debug, random);
  fill(state.events, random);
  fill(state.lapic, random);
  state.sregs.flags = KVM_SREGS2_FLAGS_PDPTRS_VALID;
  state.events.flags = KVM_VCPUEVENT_VALID_SHADOW | KVM_VCPUEVENT_VALID_PAYLOAD;
  state.mp_state.mp_state = KVM_MP_STATE_HALTED;
  state.xcrs.nr_xcrs = 1;
  state.xcrs.xcrs[0].value = 0xe7;
  for (auto& byte : state.xsave) byte = std::byte(random());
  for (auto& entry : state.msrs.entries()) entry.data = random();
  state.tsc = random();
  state.tsc_offset = random();
  state.tsc_deadline = random();
  return state;
}

std::vector<std::byte> bytes_of(VcpuState& state) {
  ByteWriter out;
  encode(state, out);
  return out.take();
}

TEST(VcpuStateCodec, RoundTripKeepsEveryField) {
  VcpuState before = sample(1);
  VcpuState after(kMsrs, kXsaveBytes);
  ASSERT_TRUE(decode(bytes_of(before), after));
  EXPECT_EQ(bytes_of(after), bytes_of(before));
  EXPECT_EQ(std::memcmp(&after.regs, &before.regs, sizeof(before.regs)), 0);
  EXPECT_EQ(std::memcmp(&after.lapic, &before.lapic, sizeof(before.lapic)), 0);
  EXPECT_EQ(after.xsave, before.xsave);
  EXPECT_EQ(after.sregs.ldt.selector, before.sregs.ldt.selector);
  EXPECT_EQ(after.sregs.pdptrs[3], before.sregs.pdptrs[3]);
  EXPECT_EQ(after.sregs.idt.limit, before.sregs.idt.limit);
  EXPECT_EQ(after.events.exception_payload, before.events.exception_payload);
  EXPECT_EQ(after.debug.db[3], before.debug.db[3]);
  EXPECT_EQ(after.msrs.entries()[2].data, before.msrs.entries()[2].data);
}

TEST(VcpuStateCodec, TruncatedAtAnyByteIsRejected) {
  VcpuState state = sample(2);
  const auto bytes = bytes_of(state);
  VcpuState target(kMsrs, kXsaveBytes);
  for (size_t n = 0; n < bytes.size(); ++n) {
    ASSERT_FALSE(decode(std::span(bytes).first(n), target)) << n;
  }
}

TEST(VcpuStateCodec, AlteredByteIsRejectedOrDecodesToExactlyThat) {
  VcpuState state = sample(3);
  const auto good = bytes_of(state);
  VcpuState target(kMsrs, kXsaveBytes);
  std::mt19937_64 random(3);
  for (size_t i = 0; i < good.size(); ++i) {
    auto bad = good;
    bad[i] ^= std::byte(random() % 255 + 1);
    if (!decode(bad, target)) continue;
    ASSERT_EQ(bytes_of(target), bad) << "byte " << i;
  }
}

TEST(VcpuStateCodec, MsrsThatTheProfileDoesNotNameAreRejected) {
  constexpr uint32_t kOthers[] = {0x174, 0x277, 0xc0000103};
  constexpr uint32_t kFewer[] = {0x174};
  VcpuState state = sample(4);
  VcpuState others(kOthers, kXsaveBytes);
  EXPECT_FALSE(decode(bytes_of(state), others));
  VcpuState fewer(kFewer, kXsaveBytes);
  EXPECT_FALSE(decode(bytes_of(state), fewer));
}

TEST(VcpuStateCodec, ExtendedStateMayBeSmallerButNotLarger) {
  VcpuState state = sample(5);
  VcpuState larger(kMsrs, 2 * kXsaveBytes);
  larger.xsave.assign(larger.xsave.size(), std::byte{0xff});
  ASSERT_TRUE(decode(bytes_of(state), larger));
  EXPECT_EQ(larger.xsave.back(), std::byte{0});
  VcpuState smaller(kMsrs, kXsaveBytes / 2);
  EXPECT_FALSE(decode(bytes_of(state), smaller));
}

TEST(VcpuStateCodec, ExtendedStateOfALargerHostFitsIntoASmallerOneThatHasTheGuestsPart) {
  VcpuState state(kMsrs, 2 * kXsaveBytes);
  state.mp_state.mp_state = KVM_MP_STATE_HALTED;
  state.xsave[kXsaveBytes - 1] = std::byte{7};
  VcpuState smaller(kMsrs, kXsaveBytes);
  EXPECT_FALSE(decode(bytes_of(state), smaller));
  state.sent_xsave_bytes = kXsaveBytes;
  ASSERT_TRUE(decode(bytes_of(state), smaller));
  EXPECT_EQ(smaller.xsave.back(), std::byte{7});
}

TEST(VcpuStateCodec, UnknownRunStateAndFlagsAreRejected) {
  VcpuState target(kMsrs, kXsaveBytes);
  VcpuState state = sample(6);
  state.mp_state.mp_state = 77;
  EXPECT_FALSE(decode(bytes_of(state), target));
  state = sample(6);
  state.events.flags |= 1u << 20;
  EXPECT_FALSE(decode(bytes_of(state), target));
  state = sample(6);
  state.sregs.flags |= 2;
  EXPECT_FALSE(decode(bytes_of(state), target));
}

TEST(ChipsCodec, RoundTripTruncationAndRangeChecks) {
  std::mt19937_64 random(7);
  IrqchipState irqchip;
  fill(irqchip.pic[0].chip.pic, random);
  fill(irqchip.pic[1].chip.pic, random);
  fill(irqchip.ioapic.chip.ioapic, random);
  irqchip.ioapic.chip.ioapic.irr &= 0xffffff;
  ByteWriter out;
  encode(irqchip, out);
  IrqchipState back;
  ASSERT_TRUE(decode(out.view(), back));
  ByteWriter again;
  encode(back, again);
  EXPECT_TRUE(std::ranges::equal(out.view(), again.view()));
  for (size_t n = 0; n < out.size(); ++n) EXPECT_FALSE(decode(out.view().first(n), back));
  irqchip.ioapic.chip.ioapic.irr = 1u << 24;
  out.clear();
  encode(irqchip, out);
  EXPECT_FALSE(decode(out.view(), back));

  PitState pit;
  fill(pit.pit, random);
  pit.pit.flags = KVM_PIT_FLAGS_SPEAKER_DATA_ON;
  for (auto& channel : pit.pit.channels) {
    channel.count = 0x10000;
    channel.mode = 3;
  }
  out.clear();
  encode(pit, out);
  PitState pit_back;
  ASSERT_TRUE(decode(out.view(), pit_back));
  EXPECT_EQ(pit_back.pit.channels[2].count_load_time, pit.pit.channels[2].count_load_time);
  for (size_t n = 0; n < out.size(); ++n) EXPECT_FALSE(decode(out.view().first(n), pit_back));
  pit.pit.channels[1].mode = 6;
  out.clear();
  encode(pit, out);
  EXPECT_FALSE(decode(out.view(), pit_back));
}

}  // namespace
}  // namespace godwit::vmm::x86
