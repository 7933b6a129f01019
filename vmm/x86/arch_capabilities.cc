#include "vmm/x86/arch_capabilities.h"

#include <fmt/core.h>

#include <algorithm>

#include "vmm/kvm/constants.h"
#include "vmm/kvm/flexible_request.h"
#include "vmm/kvm/ioctl.h"

namespace godwit::vmm::x86 {
namespace {

struct BitName {
  unsigned bit;
  const char* name;
};

constexpr BitName kNames[] = {
    {0, "RDCL_NO"},
    {1, "IBRS_ALL"},
    {2, "RSBA"},
    {3, "SKIP_L1DFL_VMENTRY"},
    {4, "SSB_NO"},
    {5, "MDS_NO"},
    {6, "IF_PSCHANGE_MC_NO"},
    {7, "TSX_CTRL"},
    {8, "TAA_NO"},
    {13, "SBDR_SSDP_NO"},
    {14, "FBSDP_NO"},
    {15, "PSDP_NO"},
    {17, "FB_CLEAR"},
    {19, "RRSBA"},
    {20, "BHI_NO"},
    {24, "PBRSB_NO"},
    {26, "GDS_NO"},
    {27, "RFDS_NO"},
    {28, "RFDS_CLEAR"},
    {62, "ITS_NO"},
};

// RSBA, RRSBA: an empty return stack takes its prediction from elsewhere.
constexpr uint64_t kBad = uint64_t{1} << 2 | uint64_t{1} << 19;

std::string name_of(unsigned bit) {
  const auto found = std::find_if(std::begin(kNames), std::end(kNames),
                                  [bit](const BitName& n) { return n.bit == bit; });
  return found == std::end(kNames) ? fmt::format("bit {}", bit) : found->name;
}

}  // namespace

std::optional<uint64_t> host_arch_capabilities(const KvmSystem& system) {
  if (system.check_extension(KVM_CAP_GET_MSR_FEATURES) <= 0) return std::nullopt;
  FlexibleRequest<KvmMsrsHead, kvm_msr_entry, 1> request;
  request.head().nmsrs = 1;
  request.entry(0).index = kMsrArchCapabilities;
  if (try_ioctl(system.fd(), kKvmGetMsrs, &request.head()) != 1) return std::nullopt;
  return request.entry(0).data;
}

uint64_t common_arch_capabilities(uint64_t a, uint64_t b) {
  return ((a ^ kBad) & (b ^ kBad)) ^ kBad;
}

std::vector<std::string> virtues(uint64_t arch_capabilities) {
  std::vector<std::string> names;
  for (unsigned bit = 0; bit < 64; ++bit) {
    if (((arch_capabilities ^ kBad) >> bit & 1) == 0) continue;
    names.push_back((kBad >> bit & 1) != 0 ? "no " + name_of(bit) : name_of(bit));
  }
  return names;
}

}  // namespace godwit::vmm::x86
