// caller HOST PORT LOG [PER_SECOND]: a client that notices everything. It holds one TCP connection
// to an echo service, sends numbered messages over it and wants each back, once, whole and in
// order. Each answer is a line in LOG,
//
//   number  when it came (CLOCK_REALTIME, us)  the time since the answer before (us)
//
// Ends on SIGTERM with a line "messages=120 lost=0 worst_us=5123" on standard output and status 0;
// when the connection breaks or anything but the next message comes back, with status 1.
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string>

namespace {

volatile std::sig_atomic_t stop_asked = 0;

int64_t clock_us(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return now.tv_sec * 1'000'000 + now.tv_nsec / 1'000;
}

int connect_to(const char* host, uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  if (inet_pton(AF_INET, host, &address.sin_addr) != 1) return -1;
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return -1;
  const int on = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) return fd;
  ::close(fd);
  return -1;
}

std::string message_of(uint64_t number) {
  char text[64];
  std::snprintf(text, sizeof text, "message %llu %016llx\n",
                static_cast<unsigned long long>(number),
                static_cast<unsigned long long>(number * 0x9e3779b97f4a7c15ULL));
  return text;
}

int broken(uint64_t number, const char* what) {
  std::printf("messages=%llu broken: %s: %m\n", static_cast<unsigned long long>(number), what);
  return 1;
}

// Waits for what was sent to come back; false when the connection is lost or lies.
bool expect_back(int fd, const std::string& message) {
  std::string got;
  while (got.size() < message.size()) {
    char part[128];
    const ssize_t n = ::recv(fd, part, message.size() - got.size(), 0);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    got.append(part, static_cast<size_t>(n));
  }
  errno = EBADMSG;
  return got == message;
}

int talk(int fd, std::FILE* log, int64_t pause_us) {
  int64_t last = clock_us(CLOCK_MONOTONIC);
  int64_t worst = 0;
  uint64_t number = 0;
  for (; stop_asked == 0; ++number) {
    const std::string message = message_of(number);
    if (::send(fd, message.data(), message.size(), MSG_NOSIGNAL) !=
        static_cast<ssize_t>(message.size()))
      return broken(number, "send");
    if (!expect_back(fd, message)) return broken(number, "receive");
    const int64_t now = clock_us(CLOCK_MONOTONIC);
    std::fprintf(log, "%llu %lld %lld\n", static_cast<unsigned long long>(number),
                 static_cast<long long>(clock_us(CLOCK_REALTIME)),
                 static_cast<long long>(now - last));
    std::fflush(log);
    worst = std::max(worst, now - last);
    last = now;
    ::usleep(static_cast<useconds_t>(pause_us));
  }
  std::printf("messages=%llu lost=0 worst_us=%lld\n", static_cast<unsigned long long>(number),
              static_cast<long long>(worst));
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const long per_second = argc > 4 ? std::strtol(argv[4], nullptr, 10) : 100;
  const long port = argc > 3 ? std::strtol(argv[2], nullptr, 10) : 0;
  if (port < 1 || port > 65535 || per_second < 1 || per_second > 10'000) {
    std::fprintf(stderr, "usage: caller HOST PORT LOG [PER_SECOND]\n");
    return 2;
  }
  std::FILE* const log = std::fopen(argv[3], "w");
  if (log == nullptr) return broken(0, argv[3]);
  struct sigaction action {};
  action.sa_handler = [](int) { stop_asked = 1; };
  ::sigaction(SIGTERM, &action, nullptr);
  ::sigaction(SIGINT, &action, nullptr);
  const int fd = connect_to(argv[1], static_cast<uint16_t>(port));
  if (fd < 0) return broken(0, "connect");
  const int status = talk(fd, log, 1'000'000 / per_second);
  ::close(fd);
  std::fclose(log);
  return status;
}
