#include "migration/transport/socket_channel.h"

#include <algorithm>
#include <cstring>

namespace godwit::migration {

SocketChannel::SocketChannel(std::shared_ptr<StreamSocket> socket)
    : socket_(std::move(socket)), read_ahead_(kReadAheadBytes) {
  unsent_.reserve(kCoalesceBytes);
}

Result<> SocketChannel::send(std::span<const ConstBuffer> buffers) {
  if (failure_) return *failure_;
  size_t total = 0;
  for (const auto& buffer : buffers) total += buffer.size();
  if (unsent_.size() + total > kCoalesceBytes) return send_out(buffers);
  for (const auto& buffer : buffers) unsent_.insert(unsent_.end(), buffer.begin(), buffer.end());
  return {};
}

Result<> SocketChannel::flush() {
  if (failure_) return *failure_;
  return unsent_.empty() ? Result<>() : send_out({});
}

Result<> SocketChannel::send_out(std::span<const ConstBuffer> buffers) {
  vectors_.clear();
  vectors_.push_back({unsent_.data(), unsent_.size()});
  for (const auto& buffer : buffers) {
    vectors_.push_back({const_cast<std::byte*>(buffer.data()), buffer.size()});
  }
  const auto sent = socket_->write_all(vectors_);
  unsent_.clear();
  return remember(sent);
}

Result<> SocketChannel::receive(std::span<const MutableBuffer> buffers) {
  if (failure_) return *failure_;
  size_t missing = take_read_ahead(buffers);
  if (missing == 0) return {};
  vectors_.push_back({read_ahead_.data(), read_ahead_.size()});
  std::span<iovec> vectors = vectors_;
  while (true) {
    const auto count = socket_->read_some(vectors, missing);
    if (!count) return remember(count.error());
    if (*count == 0) return remember(socket_->closed_by_peer("receiving"));
    if (*count >= missing) {
      read_begin_ = 0;
      read_end_ = *count - missing;
      return {};
    }
    missing -= *count;
    vectors = drop_front(vectors, *count);
  }
}

size_t SocketChannel::take_read_ahead(std::span<const MutableBuffer> buffers) {
  vectors_.clear();
  size_t missing = 0;
  for (auto buffer : buffers) {
    const size_t count = std::min(buffer.size(), read_end_ - read_begin_);
    if (count > 0) std::memcpy(buffer.data(), read_ahead_.data() + read_begin_, count);
    read_begin_ += count;
    if (count == buffer.size()) continue;
    vectors_.push_back({buffer.data() + count, buffer.size() - count});
    missing += buffer.size() - count;
  }
  return missing;
}

Result<bool> SocketChannel::wait_readable(Nanoseconds limit) {
  if (failure_) return *failure_;
  if (read_begin_ < read_end_) return true;
  return socket_->wait_readable(limit);
}

Result<> SocketChannel::remember(Result<> result) {
  if (!result) failure_ = result.error();
  return result;
}

}  // namespace godwit::migration
