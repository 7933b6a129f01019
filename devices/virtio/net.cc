#include "devices/virtio/net.h"

#include <spdlog/spdlog.h>

#include <algorithm>

#include "devices/virtio/net_spec.h"
#include "vmm/base/check.h"

namespace godwit::devices::virtio {
namespace {

constexpr uint16_t kControlQueueSize = 64;

// The bits of both directions mean the same four things.
uint64_t feature_bits(const NetOffloads& offloads, uint64_t csum, uint64_t tso4, uint64_t tso6,
                      uint64_t ecn) {
  return (offloads.checksum ? csum : 0) | (offloads.tso4 ? tso4 : 0) | (offloads.tso6 ? tso6 : 0) |
         (offloads.ecn ? ecn : 0);
}

NetOffloads offloads_of(uint64_t features) {
  return NetOffloads{.checksum = (features & kNetGuestCsum) != 0,
                     .tso4 = (features & kNetGuestTso4) != 0,
                     .tso6 = (features & kNetGuestTso6) != 0,
                     .ecn = (features & kNetGuestEcn) != 0};
}

}  // namespace

Net::Net(NetPort port)
    : config_(std::move(port.config)),
      backend_(std::move(port.backend)),
      book_(port.mac),
      own_mac_(port.mac),
      control_{.mac = port.mac} {
  const size_t pairs = backend_->queue_pairs();
  GODWIT_CHECK(pairs >= 1 && pairs <= kMaxNetQueuePairs, "queue pairs of a network device");
  for (uint16_t i = 0; i < pairs; ++i)
    pairs_.push_back(std::make_unique<NetPair>(*backend_, book_, i, [this] { link_gone(); }));
  reset_control();  // a device before this one may have left it otherwise
}

std::string Net::traits() const {
  std::string text = fmt::format("id={};queues={};offload={}", config_.id, pairs_.size(),
                                 backend_->offloads().checksum ? "on" : "off");
  if (config_.mtu) text += fmt::format(";mtu={}", *config_.mtu);
  return text;
}

uint64_t Net::features() const {
  const NetOffloads host = backend_->offloads();
  return kNetMac | kNetStatus | kNetMrgRxbuf | kNetCtrlVq | kNetCtrlMacAddr | kNetGuestAnnounce |
         feature_bits(host, kNetCsum, kNetHostTso4, kNetHostTso6, kNetHostEcn) |
         feature_bits(host, kNetGuestCsum, kNetGuestTso4, kNetGuestTso6, kNetGuestEcn) |
         (host.checksum ? kNetCtrlGuestOffloads : 0) | (config_.mtu ? kNetMtu : 0) |
         (pairs_.size() > 1 ? kNetMq : 0);
}

std::vector<uint16_t> Net::queue_sizes() const {
  std::vector<uint16_t> sizes(2 * pairs_.size(), kQueueSize);
  sizes.push_back(kControlQueueSize);
  return sizes;
}

unsigned Net::thread_of(uint16_t queue) const {
  return queue / 2 % threads();
}

// 5.1.2: it comes after the queue pairs that the driver knows of.
uint16_t Net::control_queue() const {
  return (features_ & kNetMq) != 0 ? static_cast<uint16_t>(2 * pairs_.size()) : uint16_t{2};
}

Net::Control Net::control() const {
  const std::lock_guard lock(mutex_);
  return control_;
}

NetPort Net::port() const {
  const std::lock_guard lock(mutex_);
  return {config_, own_mac_, backend_};
}

MacAddress Net::mac() const {
  return control().mac;
}

uint64_t Net::wake_ups() const {
  uint64_t sum = 0;
  for (const auto& pair : pairs_) sum += pair->wake_ups();
  return sum;
}

void Net::read_config(uint32_t offset, std::span<std::byte> data) const {
  const Control control = this->control();
  std::array<std::byte, kNetConfigBytes> config{};
  const auto put16 = [&config](uint32_t at, unsigned value) {
    config[at] = std::byte(value & 0xff);
    config[at + 1] = std::byte(value >> 8 & 0xff);
  };
  const auto mac = std::as_bytes(std::span(control.mac.bytes));
  std::copy(mac.begin(), mac.end(), config.begin() + kNetConfigMac);
  put16(kNetConfigStatus,
        (control.link_up ? kNetLinkUp : 0u) | (control.announce ? kNetAnnounce : 0u));
  put16(kNetConfigPairs, static_cast<unsigned>(pairs_.size()));
  put16(kNetConfigMtu, config_.mtu.value_or(0));
  for (size_t i = 0; i < data.size(); ++i)
    data[i] = uint64_t{offset} + i < config.size() ? config[offset + i] : std::byte{0};
}

void Net::start(Transport& transport, uint64_t features, unsigned thread) {
  if (thread == 0) {
    transport_ = &transport;
    features_ = features;
    if (!control_set_) {
      stale_ = true;
      const std::lock_guard lock(mutex_);
      control_.guest_offloads = features & kNetGuestOffloads;
    }
    control_set_ = false;
    apply_offloads();
  }
  pairs_[thread]->start(transport, features);
}

void Net::stop(unsigned thread) {
  if (thread == 0 && transport_ != nullptr) announcement_.stop(transport_->thread(0));
  pairs_[thread]->stop();
  if (thread + 1 < threads()) return;
  // Nobody polls any more.
  if (!control_set_) reset_control();
  transport_ = nullptr;
  features_ = 0;
}

void Net::reset_control() {
  {
    const std::lock_guard lock(mutex_);
    control_ = {.mac = own_mac_, .link_up = control_.link_up};
    book_.set_mac(own_mac_);
    book_.restore({});  // who drives it next uses its own
  }
  if (const auto done = backend_->set_active_pairs(1); !done)
    spdlog::warn("network interface {}: {}", config_.id, done.error().message);
  backend_->set_guest_offloads({});
}

void Net::apply_offloads() {
  backend_->set_guest_offloads(offloads_of(control().guest_offloads & features_));
}

void Net::notified(uint16_t queue) {
  if (transport_ == nullptr) return;
  if ((features_ & kNetCtrlVq) != 0 && queue == control_queue()) return run_commands(queue);
  const size_t pair = queue / 2;
  if (pair < ((features_ & kNetMq) != 0 ? pairs_.size() : 1)) pairs_[pair]->rung(queue % 2 == 1);
}

void Net::quiesce(unsigned thread) {
  pairs_[thread]->quiesce();
  if (thread == 0 && transport_ != nullptr) announcement_.pause(transport_->thread(0));
  if (thread + 1 == threads()) backend_->quiesce();
}

void Net::resume(unsigned thread) {
  if (thread == 0) {
    // Frames from before the guest came, or its driver did, tell it nothing that is still true.
    if (stale_) backend_->quiesce();
    backend_->resume(stale_ ? QueuedFrames::kDrop : QueuedFrames::kKeep);
    stale_ = false;
    if (arrived_) begin_announcing();
    arrived_ = false;
  }
  pairs_[thread]->resume();
  pairs_[thread]->set_active(thread < control().active_pairs);
  if (thread == 0 && transport_ != nullptr) {
    announcement_.run(transport_->thread(0),
                      [this] { send_announcement(*backend_, mac(), book_.list()); });
  }
}

void Net::arrived() {
  arrived_ = true;
  // Here and now: what comes a moment later, when a thread has been woken, is for the guest.
  backend_->quiesce();
  backend_->resume(QueuedFrames::kDrop);
  stale_ = false;
}

// On the first thread, as the guest begins to run here.
void Net::begin_announcing() {
  bool changed = false;
  {
    const std::lock_guard lock(mutex_);
    changed = !control_.link_up;
    control_.link_up = true;
    if (config_.announce && (features_ & kNetGuestAnnounce) != 0)
      changed = control_.announce = true;
  }
  if (transport_ == nullptr) return;
  if (config_.announce) announcement_.start();
  if (changed) transport_->config_changed();
}

void Net::link_gone() {
  {
    const std::lock_guard lock(mutex_);
    if (!control_.link_up) return;
    control_.link_up = false;
  }
  spdlog::warn("network interface {}: {} is gone from this host; the guest sees its link down",
               config_.id, backend_->host_name());
  if ((features_ & kNetStatus) != 0) transport_->config_changed();
}

}  // namespace godwit::devices::virtio
