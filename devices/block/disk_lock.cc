#include "devices/block/disk_lock.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <thread>

#include "devices/block/lock_holder.h"
#include "vmm/base/clock.h"

namespace godwit::devices {
namespace {

// [kFirst, kLast] are COMMON and the guests' own bytes. The first and the last are nobody's own.
constexpr uint64_t kFirst = 1ull << 62;
constexpr uint64_t kPairs = 1ull << 60;
constexpr uint64_t kLast = kFirst + 2 * kPairs + 1;
constexpr uint64_t kReaderMark = kLast + 1;
constexpr uint64_t kSharerMark = kLast + 2;

// Ids are random, but nothing is lost when somebody counts instead (splitmix64's finish).
uint64_t mix(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}

struct flock range(short type, uint64_t first, uint64_t last) {
  struct flock lock {};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  lock.l_start = static_cast<off_t>(first);
  lock.l_len = static_cast<off_t>(last - first + 1);
  return lock;
}

}  // namespace

DiskLock::DiskLock(UniqueFd fd, LockMode mode, uint64_t guest_id, std::string name)
    : fd_(std::move(fd)),
      mode_(mode),
      claim_byte_(kFirst + 1 + 2 * (mix(guest_id) % kPairs)),
      keep_byte_(claim_byte_ + 1),
      name_(std::move(name)) {}

DiskLock& DiskLock::operator=(DiskLock&& other) noexcept {
  if (this == &other) return *this;
  if (fd_) unlock(kFirst, kSharerMark);
  fd_ = std::move(other.fd_);
  mode_ = other.mode_;
  claim_byte_ = other.claim_byte_;
  keep_byte_ = other.keep_byte_;
  name_ = std::move(other.name_);
  state_ = other.state_;
  return *this;
}

DiskLock::~DiskLock() {
  if (fd_) unlock(kFirst, kSharerMark);
}

Result<DiskLock> DiskLock::own(UniqueFd fd, LockMode mode, uint64_t guest_id, std::string name) {
  DiskLock lock(std::move(fd), mode, guest_id, std::move(name));
  GODWIT_TRY(mode == LockMode::kExclusive ? lock.own_exclusive() : lock.share());
  return lock;
}

Result<DiskLock> DiskLock::claim(UniqueFd fd, LockMode mode, uint64_t guest_id, std::string name) {
  DiskLock lock(std::move(fd), mode, guest_id, std::move(name));
  GODWIT_TRY(mode == LockMode::kExclusive ? lock.claim_exclusive() : lock.share());
  return lock;
}

Result<> DiskLock::own_exclusive() {
  GODWIT_TRY(lock(F_WRLCK, kFirst, kLast));
  unlock(claim_byte_, keep_byte_);
  return {};
}

Result<> DiskLock::claim_exclusive() {
  GODWIT_TRY(expect_owner());
  GODWIT_TRY(lock(F_WRLCK, claim_byte_, claim_byte_));
  GODWIT_TRY(expect_free(keep_byte_, keep_byte_));
  GODWIT_TRY(expect_owner());
  state_ = State::kClaimed;
  return {};
}

// The first byte is part of every COMMON, and nobody else's.
Result<> DiskLock::expect_owner() {
  GODWIT_ASSIGN(const bool nobody, is_free(kFirst, kFirst));
  if (!nobody) return {};
  struct stat status {};
  if (::fstat(fd_.get(), &status) == 0 && S_ISBLK(status.st_mode)) {
    return expect_free(kFirst, kSharerMark);
  }
  return make_error(Errc::kPrecondition,
                    "{} is not in use by the guest that is to move here: this is another file than "
                    "the source's, or its file system carries no locks between hosts (then give "
                    "it lock=off on both), or the source has ended",
                    name_);
}

Result<> DiskLock::share() {
  const bool reader = mode_ == LockMode::kReadOnly;
  const uint64_t own_mark = reader ? kReaderMark : kSharerMark;
  const uint64_t other_mark = reader ? kSharerMark : kReaderMark;
  GODWIT_TRY(lock(F_RDLCK, kFirst, kLast));
  GODWIT_TRY(lock(F_RDLCK, own_mark, own_mark));
  const auto alone = expect_free(other_mark, other_mark);
  if (alone) return {};
  return alone.error().with_context(
      reader ? "used with share=on elsewhere, and not here; say share=on here too"
             : "used without share=on elsewhere; say share=on there too");
}

Result<> DiskLock::release() {
  if (mode_ != LockMode::kExclusive) return {};
  if (state_ != State::kOwned) {
    return make_error(Errc::kPrecondition, "{}: its lock is not owned, so it cannot be released",
                      name_);
  }
  GODWIT_TRY(lock(F_WRLCK, keep_byte_, keep_byte_));
  unlock_common();
  state_ = State::kReleased;
  return {};
}

Result<> DiskLock::become_reader() {
  if (mode_ != LockMode::kExclusive || state_ != State::kOwned) {
    return make_error(Errc::kPrecondition, "{}: its lock is not owned, so it cannot be shared",
                      name_);
  }
  // Over bytes that are held, a read lock takes the place of the write lock in one step; nobody
  // else can hold CLAIM or KEEP, other than another VMM of this very guest.
  GODWIT_TRY(lock(F_RDLCK, kReaderMark, kReaderMark));
  if (const auto shared = lock(F_RDLCK, kFirst, kLast); !shared) {
    unlock(kReaderMark, kReaderMark);
    return shared.error();
  }
  mode_ = LockMode::kReadOnly;
  return {};
}

Result<> DiskLock::take_over() {
  return own_from(State::kClaimed, claim_byte_);
}

Result<> DiskLock::retake() {
  return own_from(State::kReleased, keep_byte_);
}

Result<> DiskLock::own_from(State state, uint64_t held_byte) {
  if (mode_ != LockMode::kExclusive) return {};
  if (state_ != state) {
    return make_error(Errc::kPrecondition, "{}: its lock is not {}, so it cannot be taken", name_,
                      state == State::kClaimed ? "claimed" : "released");
  }
  GODWIT_TRY(lock_common());
  unlock(held_byte, held_byte);
  state_ = State::kOwned;
  return {};
}

Result<> DiskLock::lock_common() {
  const TimePoint deadline = now() + kDiskLockPatience;
  for (;;) {
    auto locked = try_lock_common();
    if (locked || locked.error().code != Errc::kPrecondition || now() >= deadline) return locked;
    // No event tells of a lock that is given back.
    std::this_thread::sleep_for(kDiskLockPatience / 20);
  }
}

Result<> DiskLock::try_lock_common() {
  GODWIT_TRY(lock(F_WRLCK, kFirst, claim_byte_ - 1));
  const auto rest = lock(F_WRLCK, keep_byte_ + 1, kLast);
  if (rest) return {};
  unlock(kFirst, claim_byte_ - 1);
  return rest.error();
}

void DiskLock::unlock_common() noexcept {
  unlock(kFirst, claim_byte_ - 1);
  unlock(keep_byte_ + 1, kLast);
}

Result<> DiskLock::lock(short type, uint64_t first, uint64_t last) {
  const struct flock wanted = range(type, first, last);
  if (::fcntl(fd_.get(), F_OFD_SETLK, &wanted) == 0) return {};
  if (errno == EAGAIN || errno == EACCES) return taken(first, last);
  return failed(errno);
}

Result<bool> DiskLock::is_free(uint64_t first, uint64_t last) {
  // What a write lock would meet. Own locks do not count; nothing is taken.
  struct flock probe = range(F_WRLCK, first, last);
  if (::fcntl(fd_.get(), F_OFD_GETLK, &probe) != 0) return failed(errno);
  return probe.l_type == F_UNLCK;
}

Result<> DiskLock::expect_free(uint64_t first, uint64_t last) {
  GODWIT_ASSIGN(const bool free, is_free(first, last));
  if (free) return {};
  return taken(first, last);
}

void DiskLock::unlock(uint64_t first, uint64_t last) noexcept {
  const struct flock none = range(F_UNLCK, first, last);
  // It cannot fail for a lock that is there, other than by a server that is gone, who then drops
  // it by itself.
  (void)::fcntl(fd_.get(), F_OFD_SETLK, &none);
}

Error DiskLock::taken(uint64_t first, uint64_t last) const {
  return make_error(
      Errc::kPrecondition,
      "{} is in use by another VMM ({}); end that one, or if both shall have it, give "
      "it to all of them as readonly or share=on",
      name_, describe_lock_holder(fd_.get(), first, last));
}

Error DiskLock::failed(int error) const {
  Error text = error_from_errno(
      error, fmt::format("{} cannot be locked against use by two VMMs; where its file system has "
                         "no locks, lock=off leaves that to you",
                         name_));
  text.code = Errc::kUnsupported;
  return text;
}

}  // namespace godwit::devices
