#include "migration/wire/message_channel.h"

#include "vmm/base/check.h"

namespace godwit::migration::wire {
namespace {

constexpr uint32_t kMessageMagic = 0x474d5747;  // "GWMG"

}  // namespace

// Covers type, length and payload, which may come in two parts.
uint32_t MessageChannel::checksum(MessageType type, std::span<const std::byte> head,
                                  std::span<const std::byte> tail) {
  checksum_.reset(static_cast<uint64_t>(type) << 32 |
                  static_cast<uint32_t>(head.size() + tail.size()));
  checksum_.update(head);
  checksum_.update(tail);
  return static_cast<uint32_t>(checksum_.digest());
}

MessageChannel::MessageChannel(std::unique_ptr<Channel> channel) : channel_(std::move(channel)) {
  header_.reserve(kMessageHeaderBytes);
  payload_.reserve(4096);
}

Result<> MessageChannel::send_payload(MessageType type, std::span<const std::byte> tail,
                                      bool flush) {
  const size_t length = payload_.size() + tail.size();
  GODWIT_CHECK(length <= max_payload(type).value_or(0), "message over its own limit");
  header_.clear();
  header_.u32(kMessageMagic);
  header_.u16(static_cast<uint16_t>(type));
  header_.u16(0);
  header_.u32(static_cast<uint32_t>(length));
  header_.u32(checksum(type, payload_.view(), tail));
  const ConstBuffer buffers[] = {header_.view(), payload_.view(), tail};
  GODWIT_TRY(channel_->send(std::span<const ConstBuffer>(buffers)));
  if (flush) return channel_->flush();
  return {};
}

Result<> MessageChannel::queue(MessageType type, const Residue& body) {
  payload_.clear();
  encode(body, payload_);
  return send_payload(type, {}, false);
}

Result<> MessageChannel::send_state(const StateHead& head, std::span<const std::byte> sections) {
  payload_.clear();
  encode(head, payload_);
  if (payload_.size() + sections.size() > kMaxStateBytes) {
    return make_error(Errc::kExhausted, "the machine's state of {} bytes is over the {} allowed",
                      sections.size(), kMaxStateBytes);
  }
  return send_payload(MessageType::kState, sections, true);
}

Result<> MessageChannel::send_machine(const vmm::MachineDescription& description) {
  payload_.clear();
  vmm::encode(description, payload_);
  return send_payload(MessageType::kMachine, {}, true);
}

Result<Message> MessageChannel::receive() {
  std::array<std::byte, kMessageHeaderBytes> raw;
  GODWIT_TRY(channel_->receive(MutableBuffer(raw)));
  ByteReader in(raw, "message header");
  const uint32_t magic = in.u32();
  const auto type = static_cast<MessageType>(in.u16());
  const uint16_t reserved = in.u16();
  const uint32_t length = in.u32();
  const uint32_t expected = in.u32();
  if (magic != kMessageMagic || reserved != 0) {
    return make_error(Errc::kProtocol, "no message where one was due (found {:#010x})", magic);
  }
  const auto limit = max_payload(type);
  if (!limit) {
    return make_error(Errc::kProtocol, "message of unknown type {}", static_cast<uint16_t>(type));
  }
  if (length > *limit) {
    return make_error(Errc::kProtocol, "{} of {} bytes is over the {} allowed", message_name(type),
                      length, *limit);
  }
  received_.resize(length);
  if (length != 0) GODWIT_TRY(channel_->receive(MutableBuffer(received_)));
  if (checksum(type, received_, {}) != expected) {
    return make_error(Errc::kCorrupt, "{} has a wrong checksum", message_name(type));
  }
  return Message{type, received_};
}

Result<Message> MessageChannel::expect(MessageType type) {
  GODWIT_ASSIGN(const Message message, receive());
  if (message.type == type) return message;
  if (message.type == MessageType::kFailed || message.type == MessageType::kAbort) {
    return error_of_peer(message);
  }
  return make_error(Errc::kProtocol, "{} came where {} was due", message_name(message.type),
                    message_name(type));
}

Error error_of_peer(const Message& message) {
  const std::string_view who = message.type == MessageType::kAbort ? "the source" : "the target";
  const auto text = decode_text(message.payload);
  if (!text) return text.error();
  return make_error(text->code, "{} gave up: {}", who, text->reason);
}

}  // namespace godwit::migration::wire
