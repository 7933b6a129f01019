#include "vmm/machine.h"

namespace godwit::vmm {
namespace {
constexpr uint32_t kMaxName = 64;
constexpr uint32_t kMaxDevices = 256;
constexpr uint32_t kMaxCpuBytes = 64u << 10;
constexpr uint32_t kMaxVcpus = 4096;
}  // namespace

void encode(const MachineDescription& description, ByteWriter& out) {
  out.string(description.arch);
  out.u64(description.memory_size.value);
  out.u32(description.vcpus);
  out.u32(static_cast<uint32_t>(description.devices.size()));
  for (const DeviceDescription& device : description.devices) {
    out.string(device.type);
    out.u32(device.instance);
    out.u16(device.state_version);
  }
  out.blob(description.cpu);
}

Result<MachineDescription> decode_machine_description(ByteReader& in) {
  MachineDescription description;
  description.arch = in.string(kMaxName, "the architecture's length");
  description.memory_size = ByteCount{in.u64()};
  description.vcpus = in.count(kMaxVcpus, "the number of vCPUs");
  const uint32_t devices = in.count(kMaxDevices, "the number of devices");
  for (uint32_t i = 0; i < devices && in.ok(); ++i) {
    DeviceDescription device;
    device.type = in.string(kMaxName, "a device type's length");
    device.instance = in.u32();
    device.state_version = in.u16();
    description.devices.push_back(std::move(device));
  }
  const auto cpu = in.blob(kMaxCpuBytes, "the CPU description's length");
  description.cpu.assign(cpu.begin(), cpu.end());
  GODWIT_TRY(in.status());
  if (description.vcpus == 0 || description.memory_size < kMinGuestMemory ||
      description.memory_size > kMaxGuestMemory ||
      description.memory_size.value % (2_MiB).value != 0) {
    return make_error(Errc::kCorrupt,
                      "machine description: {} vCPUs and {} bytes of memory cannot be",
                      description.vcpus, description.memory_size.value);
  }
  return description;
}

}  // namespace godwit::vmm
