// Messages over a channel: header, length cap per type, checksum.
#pragma once
#include <memory>
#include <vector>

#include "migration/channel.h"
#include "migration/wire/checksum.h"
#include "migration/wire/messages.h"

namespace godwit::migration::wire {

struct Message {
  MessageType type{};
  // Valid until the next receive().
  std::span<const std::byte> payload;
};

// Owns a connection and a buffer for each direction. Threads: as Channel.
class MessageChannel {
 public:
  explicit MessageChannel(std::unique_ptr<Channel> channel);

  [[nodiscard]] Channel& raw() { return *channel_; }

  // Sends and flushes one message.
  template <class M>
  Result<> send(MessageType type, const M& body) {
    payload_.clear();
    encode(body, payload_);
    return send_payload(type, {}, true);
  }
  Result<> send(MessageType type) {
    payload_.clear();
    return send_payload(type, {}, true);
  }
  // The same without the flush: something follows at once.
  Result<> queue(MessageType type, const Residue& body);
  // STATE with the sections in place.
  Result<> send_state(const StateHead& head, std::span<const std::byte> sections);
  Result<> send_machine(const vmm::MachineDescription& description);

  // Errors: those of the channel; kCorrupt, kProtocol for bytes that are no message.
  Result<Message> receive();
  // The next message, which must be of `type`. A kFailed or kAbort of the peer becomes its error.
  Result<Message> expect(MessageType type);

 private:
  Result<> send_payload(MessageType type, std::span<const std::byte> tail, bool flush);

  uint32_t checksum(MessageType type, std::span<const std::byte> head,
                    std::span<const std::byte> tail);

  std::unique_ptr<Channel> channel_;
  StreamingChecksum checksum_;
  ByteWriter header_;
  ByteWriter payload_;
  std::vector<std::byte> received_;
};

// The error that a kFailed or kAbort message carries, with "the target says: " or so before it.
Error error_of_peer(const Message& message);

}  // namespace godwit::migration::wire
