#include "vmm/machine.h"

#include <algorithm>

#include "vmm/io/device.h"

namespace godwit::vmm {
namespace {
constexpr uint32_t kMaxName = 64;
constexpr uint32_t kMaxDevices = 256;
constexpr uint32_t kMaxCpuBytes = 64u << 10;
constexpr uint32_t kMaxVcpus = 4096;
constexpr uint32_t kMaxVolumes = kMaxDevices;
constexpr uint32_t kMaxIdentity = 128;

// Left out when there is nothing to say, as it was before there were such devices.
void encode_traits(const MachineDescription& description, ByteWriter& out) {
  const auto& devices = description.devices;
  if (description.guest_id == 0 && description.volumes.empty() &&
      std::all_of(devices.begin(), devices.end(), [](auto& d) { return d.traits.empty(); }))
    return;
  out.u64(description.guest_id);
  for (const DeviceDescription& device : devices) out.string(device.traits);
}

void decode_traits(ByteReader& in, MachineDescription& description) {
  if (in.remaining() == 0) return;
  description.guest_id = in.u64();
  for (DeviceDescription& device : description.devices)
    device.traits = in.string(kMaxTraits, "the length of a device's traits");
}

// Left out when there are none, likewise.
void encode_volumes(const MachineDescription& description, ByteWriter& out) {
  if (description.volumes.empty()) return;
  out.u32(static_cast<uint32_t>(description.volumes.size()));
  for (const VolumeDescription& volume : description.volumes) {
    out.string(volume.name);
    out.u64(volume.size_bytes);
    out.string(volume.identity);
  }
}

void decode_volumes(ByteReader& in, MachineDescription& description) {
  if (in.remaining() == 0) return;
  const uint32_t volumes = in.count(kMaxVolumes, "the number of volumes");
  for (uint32_t i = 0; i < volumes && in.ok(); ++i) {
    VolumeDescription volume;
    volume.name = in.string(kMaxName, "the length of a volume's name");
    volume.size_bytes = in.u64();
    volume.identity = in.string(kMaxIdentity, "the length of a volume's identity");
    if (volume.size_bytes == 0 || volume.size_bytes > kMaxStorageBytes ||
        volume.size_bytes % 512 != 0) {
      in.fail(make_error(Errc::kCorrupt, "machine description: a volume of {} bytes cannot be",
                         volume.size_bytes));
    }
    description.volumes.push_back(std::move(volume));
  }
}

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
  encode_traits(description, out);
  encode_volumes(description, out);
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
  decode_traits(in, description);
  decode_volumes(in, description);
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
