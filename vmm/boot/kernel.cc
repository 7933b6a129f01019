#include "vmm/boot/kernel.h"

#include "vmm/boot/bzimage.h"
#include "vmm/boot/identify.h"
#include "vmm/boot/pvh.h"

namespace godwit::vmm {

Result<BootEntry> load_kernel(GuestMemory& memory, const BootRequest& request) {
  if (request.initrd != nullptr && request.initrd->size() == 0) {
    return make_error(Errc::kInvalidArgument, "the initrd {} is empty: leave it out",
                      request.initrd->name());
  }
  GODWIT_ASSIGN(const auto head, request.kernel.head(kIdentifyBytes));
  const ImageIdentity identity = identify(head);
  switch (identity.kind) {
    case ImageKind::kElf64X86:
      return load_pvh_elf(memory, request);
    case ImageKind::kBzImage:
      return load_bzimage(memory, request);
    case ImageKind::kOther:
      break;
  }
  return make_error(
      Errc::kInvalidArgument, "{} is no kernel but {}: {}", request.kernel.name(), identity.found,
      identity.hint.empty() ? "give a Linux bzImage or an ELF with a PVH note (vmlinux)"
                            : identity.hint);
}

}  // namespace godwit::vmm
