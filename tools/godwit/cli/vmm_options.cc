#include "tools/godwit/cli/vmm_options.h"

#include <filesystem>

#include "devices/console/config.h"
#include "migration/transport/endpoint.h"
#include "tools/godwit/api/names.h"
#include "tools/godwit/instance/run_dir.h"
#include "tools/godwit/text/units.h"

namespace godwit::tools {
namespace {

using vmm::DirtyTracking;

constexpr Names<DirtyTracking, 3> kTrackings{
    {{DirtyTracking::kAuto, "auto"}, {DirtyTracking::kLog, "log"}, {DirtyTracking::kRing, "ring"}}};

struct PageChoice {
  ByteCount hugetlb;
  bool transparent = false;
};

Result<PageChoice> parse_hugepages(const std::string& text) {
  if (text == "transparent") return PageChoice{{0}, true};
  const auto size = parse_size(text);
  if (size && (*size == 2_MiB || *size == 1_GiB)) return PageChoice{*size, false};
  return make_error(Errc::kInvalidArgument, "'{}' is no page size: use 2M, 1G or transparent",
                    text);
}

Result<std::string> parse_instance_name(const std::string& text) {
  GODWIT_TRY(check_name(text));
  return text;
}

Result<std::string> check_console(const std::string& text) {
  const std::string plain = text == "none" ? "null" : text;
  GODWIT_TRY(devices::parse_console(plain));
  return plain;
}

void add_net_option(CLI::App& command, std::vector<devices::NetConfig>& nets) {
  command
      .add_option_function<std::vector<std::string>>(
          "--net",
          [&nets](const std::vector<std::string>& texts) {
            for (const std::string& text : texts) {
              const auto net = devices::parse_net(text, fmt::format("net{}", nets.size()));
              if (!net) throw CLI::ValidationError("--net", net.error().message);
              nets.push_back(*net);
            }
          },
          "A network interface of the guest (virtio-net): tap=IFNAME for a tap interface of this "
          "host (as in --net tap=tap0,queues=2; put it into a bridge to reach further), and after "
          "commas what else is to be said: create=on (makes the tap, which goes with this "
          "process), fd=N[:N...] for open taps instead of tap, id=NAME, mac=XX:XX:XX:XX:XX:XX "
          "(else a random one), queues=N, mtu=N, offload=on|off, announce=on|off (telling the "
          "network where the guest is after a move). May be given several times. The target of a "
          "migration needs the same interfaces, in the same order, with the same queues, mtu and "
          "offload; the MAC comes with the guest, the tap may be another. On one host, source and "
          "target need a tap each.")
      ->type_name("KEY=VALUE,...")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
}

void add_balloon_option(CLI::App& command, std::optional<devices::virtio::BalloonConfig>& balloon) {
  command
      .add_option_function<std::string>(
          "--balloon",
          [&balloon](const std::string& text) {
            const auto parsed = devices::virtio::parse_balloon(text);
            if (!parsed) throw CLI::ValidationError("--balloon", parsed.error().message);
            balloon = *parsed;
          },
          "Gives the guest a balloon (virtio-balloon): `godwit balloon` asks it for memory back, "
          "and pages that it does not use are given back to the host by themselves and do not "
          "travel in a migration. With free-page-hint=on a migration asks it for more of those, "
          "which pays for a guest that does not report them and does not fill what it allocates "
          "with zeroes (Linux with init_on_alloc=0). Received without this option, a guest that "
          "has one "
          "keeps it as it is.")
      ->type_name("[free-page-hint=on|off]")
      ->expected(0, 1)
      ->trigger_on_parse(false);
}

}  // namespace

Result<ByteCount> parse_guest_memory(const std::string& text) {
  GODWIT_ASSIGN(const ByteCount size, parse_size(text));
  if (size < vmm::kMinGuestMemory || size > vmm::kMaxGuestMemory || size.value % (2_MiB).value != 0)
    return make_error(Errc::kInvalidArgument,
                      "'{}' cannot be a guest's memory: it must be {} to {}, in steps of 2 MiB",
                      text, format_size(vmm::kMinGuestMemory.value),
                      format_size(vmm::kMaxGuestMemory.value));
  return size;
}

void add_name_option(CLI::App& command, std::string& name) {
  add_parsed(command, "--name", name, parse_instance_name, "NAME", "",
             "The instance's name on this host, by which the other commands call it: 1 to 48 "
             "letters, digits, '.', '_' or '-'. One running instance has it at a time.")
      ->required();
}

CLI::Option* add_boot_options(CLI::App& command, BootOptions& boot, const std::string& purpose) {
  auto* kernel = add_text(command, "--kernel", boot.kernel, "FILE",
                          purpose +
                              " an ELF image with a PVH note (vmlinux), a bzImage (vmlinuz), "
                              "or builtin:workload for the guest that comes with godwit.");
  auto* initrd =
      add_text(command, "--initrd", boot.initrd, "FILE", "The kernel's initial RAM disk.");
  auto* text =
      add_text(command, "--cmdline", boot.command_line, "TEXT", "The kernel's command line.");
  initrd->needs(kernel);
  text->needs(kernel);
  return kernel;
}

void add_reboot_option(CLI::App& command, bool& reboot) {
  command.add_flag_callback(
      "--no-reboot", [&reboot] { reboot = false; },
      "A guest that resets itself is over, with status 0. Without it, the guest reboots: the same "
      "machine is made anew and boots the same files, under the same name, API socket and console. "
      "A guest that resets itself three times in a row within a second of its start is ended with "
      "status 1.");
}

void add_console_option(CLI::App& command, std::string& console) {
  add_parsed(command, "--serial,--console", console, check_console, "WHERE", console,
             "Where the guest's serial port (COM1) leads: stdio (this terminal; the guest then "
             "gets every key, Ctrl-C too), file=PATH (output alone), unix=PATH (a socket to "
             "connect to), pty (a new one; `godwit info` shows its name), null or none (nowhere).");
}

CLI::Option* add_memory_size_option(CLI::App& command, ByteCount& size, const std::string& text) {
  return add_parsed(command, "--memory", size, parse_guest_memory, "SIZE", "", text);
}

void add_memory_backing_options(CLI::App& command, vmm::MemoryConfig& memory) {
  command
      .add_option_function<std::string>(
          "--hugepages",
          [&memory](const std::string& text) {
            const auto choice = parse_hugepages(text);
            if (!choice) throw CLI::ValidationError("--hugepages", choice.error().message);
            memory.hugepage_size = choice->hugetlb;
            memory.transparent_hugepages = choice->transparent;
          },
          "Backs guest memory with huge pages of this size: 2M or 1G from the host's pool "
          "(/proc/sys/vm/nr_hugepages), or transparent to let the kernel merge ordinary pages "
          "where it can. Without the option: ordinary pages.")
      ->type_name("SIZE");
  command.add_flag(
      "--prealloc", memory.prealloc,
      "Takes all guest memory from the host now instead of at first use: a host that "
      "has not enough says so at once. Receiving, that is when the guest's size is known: "
      "as the migration begins, or before it with --memory. Memory taken in advance "
      "counts as touched: the next migration reads all of it.");
}

void add_device_options(CLI::App& command, devices::BoardConfig& devices) {
  command
      .add_option_function<std::vector<std::string>>(
          "--disk",
          [&devices](const std::vector<std::string>& texts) {
            for (const std::string& text : texts) {
              const auto disk =
                  devices::parse_disk(text, fmt::format("disk{}", devices.disks.size()));
              if (!disk) throw CLI::ValidationError("--disk", disk.error().message);
              devices.disks.push_back(*disk);
            }
          },
          "A disk of the guest (virtio-blk): path=FILE or path=/dev/... for a raw image or a block "
          "device of this host, nbd=URI for one that an NBD server has (so that both hosts reach "
          "it), and after commas what else is to be said: id=NAME, readonly, serial=TEXT, "
          "queues=N, queue-size=N, direct=auto|on|off (O_DIRECT), discard=on|off, share=on|off, "
          "lock=on|off, aio=auto|uring|threads, create (at `godwit receive`: if there is no such "
          "file, it is made for a guest that brings its disk along, `godwit migrate "
          "--copy-storage`), tls-dir=DIR and reconnect=SECONDS of nbd. May be "
          "given several times. The target of a migration needs the same disks, in the same "
          "order; where they lie may differ.")
      ->type_name("KEY=VALUE,...")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  add_net_option(command, devices.nets);
  command.add_flag("--rng", devices.rng,
                   "Gives the guest a source of random numbers (virtio-rng) that this host fills.");
  command
      .add_option_function<std::string>(
          "--virtio-console",
          [&devices](const std::string& text) {
            const auto console = devices::parse_console(text == "none" ? "null" : text);
            if (!console) throw CLI::ValidationError("--virtio-console", console.error().message);
            devices.virtio_console = *console;
          },
          "Gives the guest a second console (virtio-console, hvc0 to Linux) that leads where "
          "--serial could: stdio, file=PATH, unix=PATH, pty, null or none. Received without this "
          "option, a guest that has one keeps it and it leads nowhere.")
      ->type_name("WHERE");
  command
      .add_option_function<std::string>(
          "--vsock",
          [&devices](const std::string& text) {
            const auto vsock = devices::virtio::parse_vsock(text);
            if (!vsock) throw CLI::ValidationError("--vsock", vsock.error().message);
            devices.vsock = *vsock;
          },
          "Gives the guest a socket device (virtio-vsock) whose other end is a Unix socket of this "
          "host: a program connects to PATH, writes 'CONNECT PORT' and a newline, and reads 'OK' "
          "when the guest has accepted at that port; what the guest connects to, port P of CID 2, "
          "is the socket PATH_P. Streams do not move with the guest: after a migration it sees "
          "them reset. The CID must be the same at the target.")
      ->type_name("cid=N,path=PATH");
  add_balloon_option(command, devices.balloon);
}

void add_dirty_tracking_option(CLI::App& command, DirtyTracking& tracking) {
  add_parsed(
      command, "--dirty-tracking", tracking,
      [](const std::string& text) { return parse_name(kTrackings, text, "dirty tracking"); },
      "KIND", "auto",
      "How KVM finds the pages that change during a migration: log (a bitmap), ring (a list for "
      "each vCPU) or auto.");
}

void add_security_options(CLI::App& command, std::string& tls_dir, bool& plaintext) {
  add_text(command, "--tls-dir", tls_dir, "DIR",
           "Keys and certificates for TLS 1.3: ca-cert.pem, server-cert.pem, server-key.pem "
           "(receive), client-cert.pem, client-key.pem (migrate). `godwit certs` makes them. Both "
           "sides must be certified by the same authority.");
  command.add_flag("--plaintext", plaintext,
                   "Moves the guest unencrypted and unauthenticated. Whoever sees the network then "
                   "sees the guest's memory and may change it. Must be said on both sides.");
}

Result<std::string> check_endpoint(const std::string& text) {
  GODWIT_TRY(migration::parse_endpoint(text));
  return text;
}

Result<> require_security(std::string& tls_dir, bool plaintext) {
  if (plaintext && !tls_dir.empty())
    return make_error(Errc::kInvalidArgument, "--tls-dir and --plaintext exclude each other");
  if (plaintext) return {};
  if (tls_dir.empty())
    return make_error(Errc::kInvalidArgument,
                      "a guest moves encrypted: say --tls-dir DIR (`godwit certs DIR` makes the "
                      "keys and certificates), or --plaintext on both sides if the network itself "
                      "is trusted");
  std::error_code problem;
  tls_dir = std::filesystem::absolute(tls_dir, problem).string();
  if (!std::filesystem::is_directory(tls_dir, problem))
    return make_error(Errc::kInvalidArgument,
                      "--tls-dir: there is no directory {}; `godwit certs {}` makes it", tls_dir,
                      tls_dir);
  return {};
}

}  // namespace godwit::tools
