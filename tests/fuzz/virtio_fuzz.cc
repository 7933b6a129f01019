// A guest, a host and a peer that all lie to a virtio device: the bytes drive its registers, its
// rings and buffers, what its host side does, and load(). Whatever they do, the device must save a
// state that loads into a fresh one and saves as the same bytes there.
//
// Bounded: an input is short, and each of its bytes can make the device look at no more than its
// rings hold.
#include <spdlog/spdlog.h>

#include "devices/pci/pci_spec.h"
#include "devices/virtio/pci_device.h"
#include "devices/virtio/pci_layout.h"
#include "devices/virtio/spec.h"
#include "tests/devices/fakes.h"
#include "tests/fuzz/virtio_hosts.h"
#include "tests/fuzz/virtio_net_host.h"

namespace godwit::devices::virtio {
namespace {

constexpr uint16_t kRingSize = 8;
constexpr uint64_t kRings = 0x1000;  // of queue q at kRings + q * 0x400
constexpr uint64_t kRingBytes = 0x400;
constexpr uint64_t kAvailable = 0x100, kUsed = 0x200;
constexpr size_t kMostInput = 4096;

void require(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "virtio_fuzz: %s\n", what);
  std::abort();
}

struct NoMsi final : vmm::MsiSink {
  void signal(uint64_t, uint32_t) override {}
};
struct NoDoorbells final : vmm::Doorbells {
  bool attach(uint64_t, int) override { return false; }
  void detach(uint64_t, int) noexcept override {}
};

vmm::GuestMemory& memory() {
  static const auto memory = vmm::GuestMemory::create({.size = 16_MiB}).value();
  return *memory;
}

class Fixture {
 public:
  explicit Fixture(std::unique_ptr<Host> host) : host_(std::move(host)), device_(make()) {
    device_->resume();
  }

  void run(FuzzInput in) {
    if (in.u8() % 4 != 0) start(in.u8());
    while (!in.empty()) step(in);
    move();
  }

 private:
  std::unique_ptr<PciDevice> make() {
    return std::make_unique<PciDevice>(host_->make(), PciPlace{.slot = 1}, memory(), msi_,
                                       doorbells_);
  }
  void write(uint32_t offset, uint64_t value, size_t size, unsigned bar = 0) {
    std::byte raw[8];
    std::memcpy(raw, &value, sizeof raw);
    (void)device_->write_memory(base_of(bar) + offset, std::span(raw).first(size));
  }
  uint64_t base_of(unsigned bar) {
    std::byte base[4];
    device_->read_config(pci::kBar0 + 4 * bar, base);
    uint32_t address = 0;
    std::memcpy(&address, base, sizeof address);
    return address;
  }
  // As a driver that means well; `features` chooses among what is offered.
  void start(uint8_t features) {
    const std::byte command[2] = {std::byte{pci::kCommandMemory | pci::kCommandMaster}};
    device_->write_config(pci::kCommand, command);
    write(kDeviceStatus, 0, 1);
    write(kDeviceStatus, kAcknowledge | kDriver, 1);
    write(kDriverFeatureSelect, 1, 4);
    write(kDriverFeature, kVersion1 >> 32, 4);
    write(kDriverFeatureSelect, 0, 4);
    const uint64_t offered = device_->model().features() | kIndirect | kEventIdx;
    uint64_t chosen = (features & 0x3f) == 0x3f ? offered : offered & (features & 0x3f);
    if ((features & 0x40) != 0) chosen |= kEventIdx;
    if ((features & 0x80) != 0) chosen |= kIndirect;
    write(kDriverFeature, chosen, 4);
    write(kDeviceStatus, kAcknowledge | kDriver | kFeaturesOk, 1);
    const auto queues = device_->model().queue_sizes().size();
    for (uint64_t q = 0; q < queues; ++q) {
      const uint64_t rings = kRings + q * kRingBytes;
      write(kQueueSelect, q, 2);
      write(kQueueSize, kRingSize, 2);
      write(kQueueVector, q, 2);
      write(kQueueDescriptors, rings, 8);
      write(kQueueDriver, rings + kAvailable, 8);
      write(kQueueDevice, rings + kUsed, 8);
      write(kQueueEnable, 1, 2);
    }
    write(kDeviceStatus, kAcknowledge | kDriver | kFeaturesOk | kDriverOk, 1);
  }

  void step(FuzzInput& in) {
    switch (in.u8() % 12) {
      case 0:
        return read_registers(in);
      case 1: {
        const unsigned bar = in.u8() % 2;
        const uint16_t offset = in.u16();
        const size_t size = size_t{1} << (in.u8() % 4);
        uint64_t value = 0;
        const auto raw = in.take(size);
        std::memcpy(&value, raw.data(), raw.size());
        return write(offset, value, size, bar);
      }
      case 2: {
        const auto raw = in.take(4);
        if (raw.size() == 4) device_->write_config(in.u8() & 0xfcu, raw);
        return;
      }
      case 3: {
        const Gpa at{in.u16()};
        (void)memory().write(at, in.take(in.u8()));
        return;
      }
      case 4:
      case 5:
      case 6:
        return offer(in);
      case 7:
        write(kNotifyOffset + in.u8() % 8 * kNotifyStride, 0, 2);
        return settle();
      case 8:
        host_->act(device_->model(), in);
        return settle();
      case 9:
        return move();
      case 10:
        return load_anything(in);
      default:
        return start(in.u8());
    }
  }

  void read_registers(FuzzInput& in) {
    std::byte data[8];
    const size_t size = size_t{1} << (in.u8() % 4);
    const uint16_t offset = in.u16();
    device_->read_config(offset % 256 & ~3u, std::span(data).first(std::min<size_t>(size, 4)));
    (void)device_->read_memory(base_of(0) + offset, std::span(data).first(size));
  }

  // A request with up to four buffers whose places, sizes and flags the bytes choose.
  void offer(FuzzInput& in) {
    const uint8_t shape = in.u8();
    const uint64_t q = shape % 5;
    const unsigned count = 1 + (shape >> 4) % 4;
    const uint64_t rings = kRings + q * kRingBytes;
    for (unsigned i = 0; i < count; ++i) {
      const uint8_t kind = in.u8();
      const auto index = static_cast<uint16_t>((shape + i) % kRingSize);
      struct {
        uint64_t address;
        uint32_t length;
        uint16_t flags, next;
      } descriptor{};
      descriptor.address = (kind & 0x80) != 0 ? 0x100000 + in.u8() * 0x1000u : in.u16();
      descriptor.length = (kind & 0x40) != 0 ? in.u8() * 0x1000u : in.u8();
      descriptor.flags = static_cast<uint16_t>((kind & 1) != 0 ? kDescWrite : 0);
      if ((kind & 0x3e) == 0x3e) descriptor.flags |= kDescIndirect;
      if (i + 1 < count) descriptor.flags |= kDescNext;
      descriptor.next = static_cast<uint16_t>((index + 1) % kRingSize);
      (void)memory().write(Gpa{rings + index * 16u}, std::as_bytes(std::span(&descriptor, 1)));
    }
    const Gpa available{rings + kAvailable + 2};
    uint16_t next = 0;
    (void)memory().read(available, std::as_writable_bytes(std::span(&next, 1)));
    const auto head = static_cast<uint16_t>(shape % kRingSize);
    (void)memory().write(available + 2 + next % kRingSize * 2u, std::as_bytes(std::span(&head, 1)));
    ++next;
    (void)memory().write(available, std::as_bytes(std::span(&next, 1)));
    if ((shape & 8) == 0) return;
    write(kNotifyOffset + static_cast<uint32_t>(q) * kNotifyStride, 0, 2);
    settle();
  }

  // Until the device has done what was asked of it: a pause waits for that.
  void settle() {
    device_->quiesce();
    device_->resume();
  }

  void move() {
    device_->quiesce();
    const auto state = saved(*device_);
    auto next = make();
    require(static_cast<bool>(load_bytes(*next, state)), "its own state was refused");
    require(saved(*next) == state, "a loaded state saves differently");
    device_ = std::move(next);
    device_->resume();
  }

  // Its own state with some bytes changed, cut, or longer.
  void load_anything(FuzzInput& in) {
    device_->quiesce();
    const auto before = saved(*device_);
    auto bytes = before;
    for (int changes = in.u8() % 4; changes > 0; --changes)
      bytes[in.u16() % bytes.size()] ^= std::byte{in.u8()};
    if (in.u8() % 8 == 0) bytes.resize(in.u16() % (bytes.size() + 8));
    const bool loaded = static_cast<bool>(load_bytes(*device_, bytes));
    require(saved(*device_) == (loaded ? bytes : before), "load() is not all or nothing");
    device_->resume();
  }

  NoMsi msi_;
  NoDoorbells doorbells_;
  std::unique_ptr<Host> host_;
  std::unique_ptr<PciDevice> device_;
};

using MakeHost = std::unique_ptr<Host> (*)();
template <class H>
std::unique_ptr<Host> make_host() {
  return std::make_unique<H>();
}
constexpr MakeHost kHosts[] = {make_host<RngHost>, make_host<ConsoleHost>, make_host<VsockHost>,
                               make_host<BalloonHost>, make_host<NetHost>};

}  // namespace
}  // namespace godwit::devices::virtio

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  spdlog::set_level(spdlog::level::off);
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace godwit;
  using namespace godwit::devices::virtio;
  if (size > kMostInput) return 0;
  devices::FuzzInput in(std::as_bytes(std::span(data, size)));
  (void)memory().discard(Gpa{0}, memory().size());
  Fixture(kHosts[in.u8() % std::size(kHosts)]()).run(in);
  return 0;
}
