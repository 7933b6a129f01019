#include "devices/virtio/block.h"

#include <poll.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstring>

#include "devices/virtio/spec.h"
#include "vmm/base/check.h"

namespace godwit::devices::virtio {
namespace {

// 5.2.3.
constexpr uint64_t kSegMax = feature(2);
constexpr uint64_t kReadOnly = feature(5);
constexpr uint64_t kBlkSize = feature(6);
constexpr uint64_t kFlush = feature(9);
constexpr uint64_t kTopology = feature(10);
constexpr uint64_t kMultiQueue = feature(12);
constexpr uint64_t kDiscard = feature(13);
constexpr uint64_t kWriteZeroes = feature(14);

constexpr size_t kReapAtOnce = 64;

// 5.2.4.
struct [[gnu::packed]] Config {
  uint64_t capacity;  // in sectors of 512 bytes, whatever blk_size says
  uint32_t size_max;
  uint32_t seg_max;
  uint8_t geometry[4];
  uint32_t blk_size;
  uint8_t physical_block_exp;
  uint8_t alignment_offset;
  uint16_t min_io_size;  // in logical blocks
  uint32_t opt_io_size;
  uint8_t writeback;
  uint8_t unused0;
  uint16_t num_queues;
  uint32_t max_discard_sectors;
  uint32_t max_discard_seg;
  uint32_t discard_sector_alignment;
  uint32_t max_write_zeroes_sectors;
  uint32_t max_write_zeroes_seg;
  uint8_t write_zeroes_may_unmap;
  uint8_t unused1[3];
};
static_assert(sizeof(Config) == 60);

uint8_t status_of(int error) {
  if (error == 0) return kBlockOk;
  return error == EOPNOTSUPP ? kBlockUnsupported : kBlockError;
}

}  // namespace

// A queue of the driver, the host's queue under it, and what is on its way. Its thread's alone.
struct Block::Lane {
  uint16_t index = 0;
  std::unique_ptr<BlockQueue> host;
  std::vector<BlockSlot> slots;
  std::vector<uint16_t> free_slots;
  bool open = false;  // new requests may begin
};

Block::Block(Disk disk)
    : disk_(std::move(disk)),
      changes_(disk_.backend->info().size_bytes),
      volume_(DiskVolume::of(disk_, changes_)) {}
Block::~Block() = default;

uint16_t Block::device_id() const {
  return kBlock;
}

std::string Block::traits() const {
  const BlockInfo& info = disk_.backend->info();
  std::string text =
      fmt::format("id={};size={};block={};readonly={};queues={};queue-size={}", disk_.config.id,
                  info.size_bytes, info.logical_block_bytes, info.read_only ? "on" : "off",
                  disk_.config.queues, disk_.config.queue_size);
  // Any printable text: what would end it is written as a number.
  text += ";serial=";
  for (const char c : disk_.config.serial)
    text += c == ';' || c == '%' ? fmt::format("%{:02x}", c) : std::string(1, c);
  return text;
}

uint64_t Block::features() const {
  const BlockInfo& info = disk_.backend->info();
  uint64_t features = kSegMax | kBlkSize | kTopology | kFlush;
  if (info.read_only) features |= kReadOnly;
  if (disk_.config.queues > 1) features |= kMultiQueue;
  if (info.can_discard && !info.read_only) features |= kDiscard;
  if (info.can_write_zeroes && !info.read_only) features |= kWriteZeroes;
  return features;
}

std::vector<uint16_t> Block::queue_sizes() const {
  return std::vector<uint16_t>(disk_.config.queues, static_cast<uint16_t>(disk_.config.queue_size));
}

void Block::read_config(uint32_t offset, std::span<std::byte> data) const {
  const BlockInfo& info = disk_.backend->info();
  Config config{};
  config.capacity = info.size_bytes / kSectorBytes;
  // Two descriptors are the header's and the status'.
  config.seg_max = disk_.config.queue_size - 2;
  config.blk_size = info.logical_block_bytes;
  config.physical_block_exp = static_cast<uint8_t>(
      std::countr_zero(std::max(info.physical_block_bytes / info.logical_block_bytes, 1u)));
  config.min_io_size = static_cast<uint16_t>(
      std::min<uint32_t>(info.min_io_bytes / info.logical_block_bytes, UINT16_MAX));
  config.opt_io_size = info.opt_io_bytes / info.logical_block_bytes;
  config.num_queues = disk_.config.queues;
  const auto sectors = [](uint64_t bytes) {
    return static_cast<uint32_t>(std::min<uint64_t>(bytes / kSectorBytes, UINT32_MAX));
  };
  config.max_discard_sectors = sectors(info.max_discard_bytes);
  config.max_discard_seg = 1;
  config.discard_sector_alignment =
      std::max(info.discard_granularity_bytes, info.logical_block_bytes) / kSectorBytes;
  config.max_write_zeroes_sectors = sectors(info.max_write_zeroes_bytes);
  config.max_write_zeroes_seg = 1;
  config.write_zeroes_may_unmap = info.can_discard ? 1 : 0;
  const auto bytes = std::as_bytes(std::span(&config, 1));
  for (size_t i = 0; i < data.size(); ++i)
    data[i] = offset + i < bytes.size() ? bytes[offset + i] : std::byte{0};
}

Result<> Block::admit(uint64_t guest_id, bool arriving) {
  GODWIT_TRY(lock_disk(disk_, arriving ? DiskUse::kIncoming : DiskUse::kRun, guest_id));
  for (uint16_t i = 0; i < disk_.config.queues; ++i) {
    auto lane = std::make_unique<Lane>();
    lane->index = i;
    GODWIT_ASSIGN(lane->host, disk_.backend->create_queue());
    const size_t slots = std::min<size_t>(lane->host->capacity(), disk_.config.queue_size);
    lane->slots.resize(slots);
    for (size_t s = 0; s < slots; ++s) {
      lane->slots[s].index = static_cast<uint16_t>(s);
      lane->free_slots.push_back(static_cast<uint16_t>(s));
    }
    lanes_.push_back(std::move(lane));
  }
  return {};
}

void Block::start(Transport& transport, uint64_t, unsigned thread) {
  GODWIT_CHECK(thread < lanes_.size(), "a disk that was not admitted");
  transport_ = &transport;
  Lane& lane = *lanes_[thread];
  transport.thread(thread).watch(lane.host->event_fd(), [this, &lane] {
    finish(lane);
    if (lane.open) begin(lane);
  });
}

void Block::stop(unsigned thread) {
  Lane& lane = *lanes_[thread];
  lane.open = false;
  drain(lane);
  transport_->thread(thread).unwatch(lane.host->event_fd());
}

void Block::quiesce(unsigned thread) {
  if (lanes_.empty()) return;
  Lane& lane = *lanes_[thread];
  lane.open = false;
  drain(lane);
}

void Block::resume(unsigned thread) {
  lanes_[thread]->open = true;
}

void Block::notified(uint16_t queue) {
  Lane& lane = *lanes_[queue];
  if (lane.open) begin(lane);
}

// Takes what the driver added, as far as there is room; the rest stays in the ring until something
// comes back.
void Block::begin(Lane& lane) {
  Queue& queue = transport_->queue(lane.index);
  if (!queue.started()) return;
  bool room = true;
  do {
    queue.disable_notifications();
    while ((room = !lane.free_slots.empty())) {
      BlockSlot& slot = lane.slots[lane.free_slots.back()];
      const Queue::Pop popped = queue.pop(slot.chain);
      if (popped == Queue::Pop::kBroken) {
        transport_->broken(queue.error());
        break;
      }
      if (popped == Queue::Pop::kEmpty) break;
      lane.free_slots.pop_back();
      if (begin_one(lane, slot)) continue;
      room = false;
      break;
    }
  } while (room && queue.enable_notifications());
  lane.host->kick();
  transport_->flush(lane.index);
}

// False when the host has no room: the chain is back in the ring.
bool Block::begin_one(Lane& lane, BlockSlot& slot) {
  Queue& queue = transport_->queue(lane.index);
  if (!has_frame(slot.chain)) {
    transport_->broken("a request without a header or without a status");
    lane.free_slots.push_back(slot.index);
    return true;
  }
  BlockAction action = read_block_request(slot, disk_.config.serial);
  if (!action.answer && lost_.load()) action.answer = kBlockError;
  if (!action.answer) {
    action.request.tag = slot.index;
    const bool changes =
        action.request.op != BlockOp::kRead && action.request.op != BlockOp::kFlush;
    slot.changes_from = action.request.offset;
    slot.changes_length = changes ? action.request.length : 0;
    const int refused = lane.host->submit(action.request);
    if (refused == 0) return true;
    if (refused == EAGAIN) {
      queue.unpop();
      lane.free_slots.push_back(slot.index);
      return false;
    }
    action.answer = status_of(refused);
  }
  answer(lane, slot, *action.answer);
  return true;
}

void Block::answer(Lane& lane, BlockSlot& slot, uint8_t status) {
  *slot.status = std::byte{status};
  // A read that failed may have written any of it.
  transport_->queue(lane.index).push(slot.chain, static_cast<uint32_t>(slot.chain.writable_bytes));
  lane.free_slots.push_back(slot.index);
  requests_.fetch_add(1, std::memory_order_relaxed);
  if (status != kBlockOk) failed_.fetch_add(1, std::memory_order_relaxed);
}

void Block::finish(Lane& lane) {
  std::array<BlockCompletion, kReapAtOnce> done;
  for (;;) {
    const size_t n = lane.host->reap(done);
    for (size_t i = 0; i < n; ++i) {
      BlockSlot& slot = lane.slots[done[i].tag];
      // Failed ones too: any part of them may have been done.
      if (changes_.tracking()) changes_.mark(slot.changes_from, slot.changes_length);
      answer(lane, slot, status_of(done[i].error));
    }
    if (n < done.size()) break;
  }
  transport_->flush(lane.index);
}

// A lost NBD server bounds this by its reconnect time; a disk of the host answers.
void Block::drain(Lane& lane) {
  while (lane.host->in_flight() > 0) {
    pollfd ready{lane.host->event_fd(), POLLIN, 0};
    ::poll(&ready, 1, 1000);
    finish(lane);
  }
}

void Block::release() {
  if (!disk_.lock) return;
  if (const auto released = disk_.lock->release(); !released)
    spdlog::error("{}", released.error().message);
  released_ = true;
}

void Block::reclaim() {
  if (!disk_.lock || disk_.lock->owned()) return;
  const auto taken = released_ ? disk_.lock->retake() : disk_.lock->take_over();
  if (!taken) {
    spdlog::error("{}: the guest's requests are answered with errors", taken.error().message);
    lost_.store(true);
    return;
  }
  lost_.store(false);
  if (!released_) {
    if (const auto fresh = disk_.backend->invalidate_cache(); !fresh)
      spdlog::warn("{}", fresh.error().message);
  }
  released_ = false;
}

BlockDeviceCounters Block::counters() const {
  return {requests_.load(), failed_.load()};
}

}  // namespace godwit::devices::virtio
