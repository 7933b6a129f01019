#include "bench/workload/guest/serial.h"

#include "bench/workload/guest/hardware.h"

namespace godwit::workload {
namespace {

// National Semiconductor PC16550D datasheet.
constexpr uint16_t kData = 0x3f8;
constexpr uint16_t kInterruptEnable = kData + 1;
constexpr uint16_t kFifoControl = kData + 2;  // write
constexpr uint16_t kInterruptId = kData + 2;  // read
constexpr uint16_t kLineControl = kData + 3;
constexpr uint16_t kModemControl = kData + 4;
constexpr uint16_t kLineStatus = kData + 5;
constexpr uint8_t kDataReady = 1 << 0;
constexpr uint8_t kTransmitterEmpty = 1 << 5;

}  // namespace

void Serial::set_up() {
  out8(kInterruptEnable, 0);
  out8(kLineControl, 0x80);  // divisor 1: 115200 baud
  out8(kData, 1);
  out8(kInterruptEnable, 0);
  out8(kLineControl, 3);   // 8N1
  out8(kFifoControl, 1);   // FIFOs on; what has come in stays
  out8(kModemControl, 3);  // DTR, RTS
  fifo_depth_ = (in8(kInterruptId) & 0xc0) == 0xc0 ? 16 : 1;
}

void Serial::queue(const Line& line) {
  if (kQueue - (head_ - tail_) < line.size() + 1) {
    ++dropped_;
    return;
  }
  for (size_t i = 0; i < line.size(); ++i) queue_[head_++ % kQueue] = line.data()[i];
  queue_[head_++ % kQueue] = '\n';
}

bool Serial::pump() {
  if (!pending()) return false;
  if (room_ == 0) {
    if ((in8(kLineStatus) & kTransmitterEmpty) != 0) room_ = fifo_depth_;
    return true;
  }
  out8(kData, static_cast<uint8_t>(queue_[tail_++ % kQueue]));
  --room_;
  return true;
}

void Serial::flush() {
  constexpr unsigned kMaxIdle = 100'000;
  unsigned idle = 0;
  while (pending() && idle < kMaxIdle) {
    const size_t before = tail_;
    pump();
    idle = tail_ == before ? idle + 1 : 0;
  }
}

int Serial::poll() {
  const uint8_t status = in8(kLineStatus);
  return (status & kDataReady) != 0 ? in8(kData) : -1;
}

}  // namespace godwit::workload
