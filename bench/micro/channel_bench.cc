// Channels over loopback, from send() to the last byte received: bandwidth and system calls per MiB
// of payload on both sides, plain and TLS 1.3, by the size of one send.
#include <benchmark/benchmark.h>
#include <stdlib.h>

#include <filesystem>
#include <thread>

#include "migration/transport/certs.h"
#include "migration/transport/connector.h"
#include "migration/transport/socket_acceptor.h"

namespace godwit::bench {
namespace {

using namespace godwit::migration;

constexpr uint64_t kPerIteration = uint64_t{64} << 20;
constexpr auto kPatience = std::chrono::seconds(20);
constexpr auto kTransferLimit = std::chrono::seconds(60);

enum Kind : int64_t { kTcp, kUnix, kTls };

// Certificates for all runs of this program.
class TlsDirectory {
 public:
  TlsDirectory() {
    std::string name = "/tmp/godwit-mb-XXXXXX";
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
    path_ = name;
    make_certificates(tls(), {.hosts = {"127.0.0.1"}}).value();
  }
  ~TlsDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TlsDirectory(const TlsDirectory&) = delete;
  TlsDirectory& operator=(const TlsDirectory&) = delete;
  [[nodiscard]] std::filesystem::path path() const { return path_; }
  [[nodiscard]] std::filesystem::path tls() const { return path_ / "tls"; }

 private:
  std::filesystem::path path_;
};

const TlsDirectory& directory() {
  static const TlsDirectory instance;
  return instance;
}

struct ChannelPair {
  std::unique_ptr<Channel> sender;
  std::unique_ptr<Channel> receiver;
};

ChannelPair connect(Kind kind) {
  std::shared_ptr<const TlsContext> client, server;
  if (kind == kTls) {
    const TlsOptions options{.directory = directory().tls()};
    client = TlsContext::load(TlsRole::kClient, options).value();
    server = TlsContext::load(TlsRole::kServer, options).value();
  }
  const std::string socket = "unix://" + (directory().path() / "socket").string();
  const auto endpoint = parse_endpoint(kind == kUnix ? socket : "tcp://127.0.0.1:0").value();
  const auto acceptor = SocketAcceptor::listen(endpoint, server).value();
  ChannelPair pair;
  {
    // TLS needs both ends at once.
    const std::jthread accepting([&] { pair.receiver = acceptor->accept(kPatience).value(); });
    pair.sender = make_connector(acceptor->local_endpoint(), client)->connect(kPatience).value();
  }
  pair.sender->set_timeout(kTransferLimit);
  pair.receiver->set_timeout(kTransferLimit);
  return pair;
}

// Sends kPerIteration bytes in pieces; the receiver answers with one byte when it has them all.
bool transfer(ChannelPair& pair, std::span<const std::byte> piece) {
  bool received = true;
  const std::jthread receiver([&] {
    std::vector<std::byte> buffer(256 << 10);
    uint64_t left = kPerIteration;
    while (left > 0 && received) {
      const auto part = std::span(buffer).first(std::min<uint64_t>(left, buffer.size()));
      received = pair.receiver->receive(MutableBuffer(part)).has_value();
      left -= part.size();
    }
    const std::byte done{1};
    received = received && pair.receiver->send(ConstBuffer(&done, 1)) && pair.receiver->flush();
  });
  for (uint64_t sent = 0; sent < kPerIteration; sent += piece.size()) {
    if (!pair.sender->send(ConstBuffer(piece))) return false;
  }
  std::byte done{};
  return pair.sender->flush() && pair.sender->receive(MutableBuffer(&done, 1));
}

void BM_Channel(benchmark::State& state) {
  ChannelPair pair = connect(static_cast<Kind>(state.range(0)));
  const std::vector<std::byte> piece(static_cast<size_t>(state.range(1)), std::byte{0x5a});
  const ChannelStats before = pair.sender->stats();
  const ChannelStats received_before = pair.receiver->stats();
  for (auto _ : state) {
    if (!transfer(pair, piece)) {
      state.SkipWithError("the transfer failed");
      break;
    }
  }
  const double mib = static_cast<double>(state.iterations()) * (kPerIteration >> 20);
  const auto per_mib = [&](uint64_t now, uint64_t then) {
    return benchmark::Counter(static_cast<double>(now - then) / mib);
  };
  const ChannelStats sent = pair.sender->stats();
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * kPerIteration));
  state.counters["send_calls/MiB"] = per_mib(sent.send_calls, before.send_calls);
  state.counters["receive_calls/MiB"] =
      per_mib(pair.receiver->stats().receive_calls, received_before.receive_calls);
  state.counters["wire_overhead_%"] =
      100 * (static_cast<double>(sent.bytes_sent - before.bytes_sent) / (mib * (1 << 20)) - 1);
}
BENCHMARK(BM_Channel)
    ->ArgNames({"kind", "piece"})
    ->ArgsProduct({{kTcp, kUnix, kTls}, {4 << 10, 64 << 10, 256 << 10}})
    ->UseRealTime()
    ->MeasureProcessCPUTime()
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace godwit::bench
