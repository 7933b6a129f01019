#include "tools/godwit/process/engine.h"

#include "migration/transport/connector.h"
#include "migration/transport/endpoint.h"
#include "migration/transport/socket_acceptor.h"
#include "migration/transport/tls_context.h"

namespace godwit::tools {
namespace {

using migration::TlsContext;
using migration::TlsRole;

// Null for plaintext.
Result<std::shared_ptr<const TlsContext>> load_tls(TlsRole role, bool plaintext,
                                                   const std::string& directory,
                                                   const std::vector<std::string>& authorized) {
  if (plaintext) return std::shared_ptr<const TlsContext>();
  return TlsContext::load(role, {.directory = directory, .authorized = authorized});
}

class EngineSender final : public Sender {
 public:
  EngineSender(vmm::Machine& machine, std::unique_ptr<migration::Connector> connector,
               const migration::MigrationParameters& parameters, Observer observer)
      : connector_(std::move(connector)),
        source_(machine, *connector_, parameters, std::move(observer)) {}
  migration::MigrationResult run() override { return source_.run(); }
  void cancel() noexcept override { source_.cancel(); }

 private:
  std::unique_ptr<migration::Connector> connector_;
  migration::MigrationSource source_;
};

class EngineReceiver final : public Receiver {
 public:
  EngineReceiver(std::unique_ptr<migration::Acceptor> acceptor, vmm::MachineFactory& factory,
                 const migration::TargetParameters& parameters, Observer observer)
      : acceptor_(std::move(acceptor)),
        target_(*acceptor_, factory, parameters, std::move(observer)) {}
  migration::TargetResult run() override { return target_.run(); }
  void on_settled(migration::MigrationTarget::OnSettled settled) override {
    target_.on_settled(std::move(settled));
  }
  void cancel() noexcept override { target_.cancel(); }

 private:
  std::unique_ptr<migration::Acceptor> acceptor_;
  migration::MigrationTarget target_;
};

}  // namespace

Result<std::unique_ptr<Sender>> make_sender(vmm::Machine& machine, const MigrationRequest& request,
                                            Observer observer) {
  GODWIT_ASSIGN(migration::Endpoint endpoint, migration::parse_endpoint(request.destination));
  GODWIT_ASSIGN(auto tls, load_tls(TlsRole::kClient, request.plaintext, request.tls_dir, {}));
  return std::unique_ptr<Sender>(std::make_unique<EngineSender>(
      machine, migration::make_connector(std::move(endpoint), std::move(tls)), request.parameters,
      std::move(observer)));
}

Result<std::unique_ptr<Receiver>> make_receiver(const ListenRequest& request,
                                                vmm::MachineFactory& factory, Observer observer,
                                                std::string& bound) {
  GODWIT_ASSIGN(const migration::Endpoint endpoint, migration::parse_endpoint(request.endpoint));
  GODWIT_ASSIGN(auto tls,
                load_tls(TlsRole::kServer, request.plaintext, request.tls_dir, request.tls_authz));
  GODWIT_ASSIGN(auto acceptor, migration::SocketAcceptor::listen(endpoint, std::move(tls)));
  bound = acceptor->local_endpoint().to_string();
  return std::unique_ptr<Receiver>(std::make_unique<EngineReceiver>(
      std::move(acceptor), factory, request.parameters, std::move(observer)));
}

}  // namespace godwit::tools
