// What <linux/kvm.h> lacks for us: numbers that are newer than the oldest kernel headers we build
// with (Linux 6.1), and requests that those headers get wrong in C++.
#pragma once
#include <linux/kvm.h>

#ifndef KVM_EXIT_MEMORY_FAULT
#define KVM_EXIT_MEMORY_FAULT 39  // Linux 6.8: KVM_RUN returns -EFAULT with it
#endif
#ifndef KVM_CAP_DIRTY_LOG_RING_ACQ_REL
#define KVM_CAP_DIRTY_LOG_RING_ACQ_REL 223  // Linux 6.1
#endif
#ifndef KVM_CAP_DIRTY_LOG_RING_WITH_BITMAP
#define KVM_CAP_DIRTY_LOG_RING_WITH_BITMAP 225  // Linux 6.2
#endif

namespace godwit::vmm {

// Structures that end in a flexible array. Linux 6.1's __DECLARE_FLEX_ARRAY puts an empty struct in
// front of the array, which has size 1 in C++: the array moves, the size grows, and with it the
// number of every request whose number contains that size. So these heads, behind which the entries
// follow at once as in C, and these numbers stand in for the header's.
struct KvmMsrsHead {
  __u32 nmsrs;
  __u32 pad;
};
struct KvmMsrListHead {
  __u32 nmsrs;
};
struct KvmCpuidHead {
  __u32 nent;
  __u32 padding;
};
struct KvmXsaveHead {
  __u32 region[1024];
};
inline constexpr unsigned long kKvmGetMsrIndexList = _IOWR(KVMIO, 0x02, KvmMsrListHead);
inline constexpr unsigned long kKvmGetSupportedCpuid = _IOWR(KVMIO, 0x05, KvmCpuidHead);
inline constexpr unsigned long kKvmGetMsrs = _IOWR(KVMIO, 0x88, KvmMsrsHead);
inline constexpr unsigned long kKvmSetMsrs = _IOW(KVMIO, 0x89, KvmMsrsHead);
inline constexpr unsigned long kKvmSetCpuid2 = _IOW(KVMIO, 0x90, KvmCpuidHead);
inline constexpr unsigned long kKvmGetXsave = _IOR(KVMIO, 0xa4, KvmXsaveHead);
inline constexpr unsigned long kKvmSetXsave = _IOW(KVMIO, 0xa5, KvmXsaveHead);
inline constexpr unsigned long kKvmGetXsave2 = _IOR(KVMIO, 0xcf, KvmXsaveHead);

}  // namespace godwit::vmm
