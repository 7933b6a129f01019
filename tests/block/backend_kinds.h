// Every kind of disk behind one fixture, so that what all must do is tested on all.
#pragma once
#include <memory>
#include <string>

#include "devices/block/disk.h"
#include "tests/block/block_fixture.h"

namespace godwit::devices {

enum class DiskKind { kUringDirect, kUringCached, kThreadsDirect, kThreadsCached, kNbd, kNbdPlain };

inline std::string kind_name(const ::testing::TestParamInfo<DiskKind>& info) {
  switch (info.param) {
    case DiskKind::kUringDirect:
      return "UringDirect";
    case DiskKind::kUringCached:
      return "UringCached";
    case DiskKind::kThreadsDirect:
      return "ThreadsDirect";
    case DiskKind::kThreadsCached:
      return "ThreadsCached";
    case DiskKind::kNbd:
      return "Nbd";
    case DiskKind::kNbdPlain:
      return "NbdThatCannotZero";
  }
  return "?";
}

class EveryDisk : public ::testing::TestWithParam<DiskKind> {
 protected:
  [[nodiscard]] bool is_nbd() const {
    return GetParam() == DiskKind::kNbd || GetParam() == DiskKind::kNbdPlain;
  }
  // Opens a new disk of that size; `more` are options. Skips the test where the kind is not here.
  void open(uint64_t size, const std::string& more = "") {
    make_file(path_, size);
    if (is_nbd()) {
      if (!NbdServer::available()) GTEST_SKIP() << "no nbdkit here";
      std::vector<std::string> arguments{"file", path_};
      if (GetParam() == DiskKind::kNbdPlain) {
        arguments = {"--filter=nozero", "file", path_, "zeromode=none"};
      }
      server_ = std::make_unique<NbdServer>(folder_.file("socket"), arguments);
    }
    reopen(more);
  }
  void reopen(const std::string& more = "") {
    queue_.reset();
    disk_ = Disk{};
    const DiskKind kind = GetParam();
    std::string text = is_nbd() ? "nbd=" + server_->uri() : "path=" + path_;
    if (kind == DiskKind::kUringDirect || kind == DiskKind::kThreadsDirect) text += ",direct=on";
    if (kind == DiskKind::kUringCached || kind == DiskKind::kThreadsCached) text += ",direct=off";
    if (kind == DiskKind::kUringDirect || kind == DiskKind::kUringCached) text += ",aio=io_uring";
    if (kind == DiskKind::kThreadsDirect || kind == DiskKind::kThreadsCached)
      text += ",aio=threads";
    auto disk = open_disk(parse_disk(text + more, "disk0").value(), DiskUse::kRun, 1);
    if (!disk && disk.error().code == Errc::kUnsupported) GTEST_SKIP() << disk.error().message;
    disk_ = std::move(disk).value();
    auto queue = disk_.backend->create_queue();
    if (!queue && queue.error().code == Errc::kUnsupported) GTEST_SKIP() << queue.error().message;
    queue_ = std::move(queue).value();
    driver_ = std::make_unique<QueueDriver>(*queue_);
  }
  QueueDriver& driver() { return *driver_; }
  const BlockInfo& info() { return disk_.backend->info(); }

  TempFolder folder_;
  std::string path_ = folder_.file("disk.raw");
  std::unique_ptr<NbdServer> server_;
  Disk disk_;
  std::unique_ptr<BlockQueue> queue_;
  std::unique_ptr<QueueDriver> driver_;
};

#define GODWIT_OPEN_OR_SKIP(...) \
  open(__VA_ARGS__);             \
  if (IsSkipped() || HasFatalFailure()) return

}  // namespace godwit::devices
