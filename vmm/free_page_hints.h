// Memory that a migration need not carry: what a running guest says it has no use for. The seam
// between whoever hears it of the guest (a balloon, virtio 1.2, 5.5.6.5) and whoever sends memory.
//
// Why it is safe to leave a hinted page out. Let T be the moment at which dirty tracking had begun
// for every page, and a hint one that the guest gave for a session which it heard of after T:
//  - The guest has said after T that nothing which the page held then matters: it will write the
//    page before it takes anything from it.
//  - Each such write is after T, so the tracker reports the page and it is sent in a later
//    iteration, with all its bytes. A page's tracking has nothing to do with whether it was sent.
//  - So a hint may take a page out of the first iteration, the one that sends what was there at T,
//    and out of no other: what a harvest found is always sent. A hint that comes late, or for a
//    page that the guest has taken back and written meanwhile, does no harm as long as the session
//    ends before the first harvest becomes something to send.
//  - A page left out reads at the target as zeroes, or as what was sent of it earlier.
// Who gives hints answers for the first sentence: one of an earlier session is dropped (it may be
// older than T), and there are none of a guest whose free pages must keep a content (page
// poisoning; with zeroes, as init_on_free has them, both sides are equal anyway).
//
// A guest that lies loses content of its own memory, and only where nobody checks (--verify counts
// a page that was left out as zero).
#pragma once
#include <cstdint>

#include "vmm/base/types.h"

namespace godwit::vmm {

class FreePageSink {
 public:
  // [first, first + count) is free, and lies in guest memory: a hint of the session that begin()
  // began. On a thread of the giver; takes no lock that is held around begin() or end().
  virtual void add_free(PageIndex first, uint64_t count) noexcept = 0;

 protected:
  ~FreePageSink() = default;
};

class FreePageHints {
 public:
  virtual ~FreePageHints() = default;
  // Begins a session: asks the guest, which answers whenever it likes, or never. Dirty tracking has
  // begun. `sink` is there until end() has returned. False, and no session: the guest gives no
  // hints. Any thread; one session at a time.
  virtual bool begin(FreePageSink& sink) = 0;
  // Ends the session, if there is one, and lets the guest have its pages back. Nothing reaches the
  // sink once this has returned; it waits for no guest. Any thread.
  virtual void end() noexcept = 0;
};

}  // namespace godwit::vmm
