#include "vmm/kvm/host_report.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <system_error>

namespace godwit::vmm {
namespace {

HostCheck make_check(std::string name, bool ok, bool required, std::string detail,
                     std::string advice) {
  return {std::move(name), ok, required, std::move(detail), ok ? "" : std::move(advice)};
}

std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

HostCheck huge_page_check(const char* name, unsigned kib) {
  const std::string folder = fmt::format("/sys/kernel/mm/hugepages/hugepages-{}kB/", kib);
  const std::string total = first_line(folder + "nr_hugepages");
  if (total.empty()) {
    return make_check(name, false, false, "the kernel has no huge pages of this size",
                      "run guests on ordinary pages");
  }
  return make_check(
      name, total != "0", false,
      fmt::format("{} reserved, {} free", total, first_line(folder + "free_hugepages")),
      fmt::format("to use --hugepages, write a number to {}nr_hugepages", folder));
}

// Full userfaultfd: faults that the kernel (and so KVM) takes are reported too.
int open_userfaultfd() {
  const long fd = ::syscall(SYS_userfaultfd, O_CLOEXEC);
  if (fd >= 0) return static_cast<int>(fd);
  const int error = errno;
  const UniqueFd device(::open("/dev/userfaultfd", O_RDWR | O_CLOEXEC));
#ifdef USERFAULTFD_IOC_NEW
  if (device) {
    const int through_device = ::ioctl(device.get(), USERFAULTFD_IOC_NEW, O_CLOEXEC);
    if (through_device >= 0) return through_device;
  }
#endif
  return -error;
}

HostCheck userfaultfd_check() {
  constexpr const char* kName = "userfaultfd";
  const int result = open_userfaultfd();
  if (result < 0) {
    return make_check(kName, false, false, std::generic_category().message(-result),
                      "for post-copy and lazy restore: set vm.unprivileged_userfaultfd=1, give "
                      "access to /dev/userfaultfd, or run as root");
  }
  const UniqueFd fd(result);
  uffdio_api api{};
  api.api = UFFD_API;
  if (::ioctl(fd.get(), UFFDIO_API, &api) != 0) {
    return make_check(kName, false, false, std::generic_category().message(errno),
                      "use a kernel with userfaultfd API 0xaa");
  }
  return make_check(kName, true, false, fmt::format("features {:#x}", uint64_t{api.features}), "");
}

}  // namespace

bool HostReport::usable() const {
  return !checks.empty() && std::all_of(checks.begin(), checks.end(), [](const HostCheck& check) {
    return check.ok || !check.required;
  });
}

HostCheck check_kvm_device() {
  const auto system = KvmSystem::open();
  if (system) return make_check("kvm", true, true, "/dev/kvm, API version 12", "");
  return make_check("kvm", false, true, "no usable /dev/kvm", system.error().message);
}

void add_kvm_checks(const KvmCapabilities& caps, HostReport& report) {
  constexpr const char* kNewer = "use a newer kernel (4.13 or later)";
  const auto add = [&report](HostCheck check) { report.checks.push_back(std::move(check)); };
  add(make_check("user-memory", caps.user_memory, true, "KVM_CAP_USER_MEMORY", kNewer));
  add(make_check("immediate-exit", caps.immediate_exit, true, "KVM_CAP_IMMEDIATE_EXIT", kNewer));
  add(make_check("vcpus", caps.max_vcpus > 0, true,
                 fmt::format("{} recommended, {} possible", caps.recommended_vcpus, caps.max_vcpus),
                 kNewer));
  add(make_check("memory-slots", caps.memory_slots >= 2, true, fmt::format("{}", caps.memory_slots),
                 kNewer));
  const bool initially_set = (caps.manual_dirty_log_protect & KVM_DIRTY_LOG_INITIALLY_SET) != 0;
  add(make_check("dirty-log-manual-protect", caps.manual_dirty_log_protect != 0, false,
                 initially_set ? "with initially-set" : "without initially-set",
                 "migration works with the plain dirty log, but stops vCPUs for longer; use Linux "
                 "5.0 or later"));
  add(make_check("dirty-ring", caps.dirty_ring_capability != 0, false,
                 fmt::format("up to {} KiB per vCPU", caps.dirty_ring_max_bytes >> 10),
                 "--dirty-tracking ring cannot be used; Linux 5.11 or later has it"));
}

void add_memory_checks(HostReport& report) {
  report.checks.push_back(userfaultfd_check());
  report.checks.push_back(huge_page_check("hugepages-2M", 2048));
  report.checks.push_back(huge_page_check("hugepages-1G", 1048576));
}

}  // namespace godwit::vmm
