// Locks that keep two VMMs from writing one disk, and that move with a migrating guest.
//
// They are open file description locks (fcntl(2), F_OFD_SETLK) on bytes far beyond any disk's end.
// The kernel drops them when their holder dies, however it dies; NFSv4 carries them between hosts.
// On a block device they guard against VMMs of the same host only (and through the same device
// node): what several hosts reach as a device must be kept apart by its own means.
//
// Exclusive disks (the default for writable ones). Every guest has a random 64-bit id that travels
// with it. Of the lock bytes two belong to the guest, at a place that follows from its id: CLAIM
// and KEEP. All others are COMMON.
//
//   state      holds            who
//   owned      COMMON           the VMM that may use the disk
//   claimed    CLAIM            a migration's target, from before the first page on
//   released   KEEP             its source, from the handover to its end
//
//   own        (nothing) -> all bytes in one call -> gives CLAIM and KEEP back: owned
//   claim      (nothing) -> CLAIM, if nobody holds KEEP and somebody owns the disk: claimed
//   release    owned -> takes KEEP, gives COMMON back: released
//   take_over  claimed -> takes COMMON, gives CLAIM back: owned
//   retake     released -> takes COMMON, gives KEEP back: owned
//
// Every step takes before it gives, so the disk is never without a holder while one side lives:
//  - At most one owner: all owners hold all of COMMON but their own two bytes, and any two such
//    sets meet. take_over and retake exclude each other in the same way: whoever is first has the
//    guest, the other stays as it was and is told so.
//  - Another guest's run or restore needs all bytes at some moment, so it is refused by an owner, a
//    claim or a keep alike: before, during and after the handover, and when either side crashes in
//    the middle of it. Only when both sides are gone is the disk free.
//  - A restore of the same guest (same id) beside a running one, or amid its handover, is refused
//    in the same way, since own() passes through all bytes.
//  - A second target of the same guest finds CLAIM taken. Another guest's target finds COMMON
//    taken, since its CLAIM is among the owner's COMMON: refused before any page moves. In the
//    handover it finds no owner: refused too. (It looks before it takes. Where it looked just
//    before the handover and took just after, it looks again and gives back; take_over and retake
//    try for kDiskLockPatience, so that this moment costs nobody the disk.)
//  - An owner that is there must be this guest's, since any other's would hold the CLAIM. So a
//    target whose path leads to another file than the source's, or whose file system carries no
//    locks between hosts, is refused rather than trusted. On a block device of another host no
//    owner is to be seen; there the claim stands if it finds no lock at all.
//  - A source of an earlier move that never learnt how it ended still holds KEEP; claim() refuses
//    then, so no newer handover opens a gap for the old one's retake().
// Two ids collide in their two bytes once in 2^60: then claim() of the wrong guest would pass, and
// its take_over() still fail.
//
// A failed move: the target drops its lock (from claimed or owned), the source retakes. If the
// source is still `owned`, it has nothing to do.
//
// Read-only disks hold read locks on all bytes: any number of readers, none beside an owner, a
// claim or a keep. Nothing moves: source and target both are readers; release and the others do
// nothing.
//
// Shared disks (share=on: cluster file systems, or a guest that may see another write) hold the
// same read locks. So that they and plain readers exclude each other, each of the two kinds marks
// its own byte with a read lock and then looks for the other's mark: marked before looking, two
// that come at once may both be refused, but never both pass.
#pragma once
#include <chrono>
#include <cstdint>
#include <string>

#include "vmm/base/error.h"
#include "vmm/base/fd.h"

namespace godwit::devices {

inline constexpr std::chrono::milliseconds kDiskLockPatience{100};

enum class LockMode { kExclusive, kReadOnly, kShared };

// Threads: one at a time. The destructor gives everything back.
class DiskLock {
 public:
  // `fd` must be an open file description of its own (not a dup() of the one used for I/O: what
  // io_uring holds lives longer than its process), readable, and writable for kExclusive. `name`
  // is for error texts, such as "disk0 (/path)".
  // Errors: kPrecondition, with the holder where it can be found; kUnsupported when the file
  // system has no locks.
  static Result<DiskLock> own(UniqueFd fd, LockMode mode, uint64_t guest_id, std::string name);
  static Result<DiskLock> claim(UniqueFd fd, LockMode mode, uint64_t guest_id, std::string name);

  DiskLock(DiskLock&&) noexcept = default;
  DiskLock& operator=(DiskLock&& other) noexcept;
  ~DiskLock();

  // In any other state than named above: kPrecondition, nothing changed. After an error the state
  // is as before.
  Result<> release();
  Result<> take_over();
  Result<> retake();

  // From an owner's to a reader's (kReadOnly), with no moment between in which it is nobody's.
  // Errors: kPrecondition; then it is owned as before.
  Result<> become_reader();

  // Whether the disk may be used. Readers and sharers always may.
  [[nodiscard]] bool owned() const { return state_ == State::kOwned; }

 private:
  enum class State { kOwned, kClaimed, kReleased };
  DiskLock(UniqueFd fd, LockMode mode, uint64_t guest_id, std::string name);
  Result<> own_exclusive();
  Result<> claim_exclusive();
  Result<> expect_owner();
  Result<> share();
  Result<> own_from(State state, uint64_t held_byte);
  // Takes COMMON; nothing of it when that fails.
  Result<> lock_common();
  Result<> try_lock_common();
  void unlock_common() noexcept;
  // Takes, or looks at, bytes [first, last].
  Result<> lock(short type, uint64_t first, uint64_t last);
  Result<> expect_free(uint64_t first, uint64_t last);
  Result<bool> is_free(uint64_t first, uint64_t last);
  void unlock(uint64_t first, uint64_t last) noexcept;
  [[nodiscard]] Error taken(uint64_t first, uint64_t last) const;
  [[nodiscard]] Error failed(int error) const;

  UniqueFd fd_;
  LockMode mode_;
  uint64_t claim_byte_;
  uint64_t keep_byte_;
  std::string name_;
  State state_ = State::kOwned;
};

}  // namespace godwit::devices
