// A migration with every field filled, as reports and the API show it.
#pragma once
#include "migration/report.h"

namespace godwit::tools {

inline migration::MigrationResult sample_result() {
  using namespace std::chrono_literals;
  migration::MigrationResult r;
  migration::Progress& p = r.progress;
  p.status = migration::Status::kCompleted;
  p.elapsed = r.total_time = 1'234'567'890ns;
  p.setup_time = 34'500'001ns;
  p.iteration = 3;
  p.total_bytes = uint64_t{1} << 30;
  p.transferred_bytes = 600'000'000;
  p.normal_pages = 200'000;
  p.duplicate_pages = 10'000;
  p.lz4_pages = 150'000;
  p.lz4_bytes_in = 614'400'000;
  p.lz4_bytes_out = 307'200'000;
  p.untouched_pages = 52'144;
  p.free_pages = 4'096;
  p.wire_bytes_per_second = 1.25e9;
  p.dirty_pages_per_second = 20'000;
  p.expected_downtime = 912us;
  p.time_left = 0ns;
  p.storage = migration::StorageProgress{.volumes = 1,
                                         .total_bytes = uint64_t{1} << 30,
                                         .data_bytes = 300 << 20,
                                         .zero_bytes = 724 << 20,
                                         .transferred_bytes = 250 << 20,
                                         .passes = 4,
                                         .first_pass = 600ms,
                                         .last_delta_bytes = 128 << 10};
  r.downtime = 871'500ns;
  migration::DowntimeLedger ledger;
  ledger.phases = {30us, 10us, 120us, 41'500ns, 250us, 200us, 120us, 100us};
  ledger.total = 871'500ns;
  ledger.clock_offset = -12'345us;
  ledger.clock_offset_error = 18us;
  r.ledger = ledger;
  r.verify = migration::VerifyReport{true, 0x0123456789abcdef, 0x0123456789abcdef};
  r.iterations = {
      {1, 900ms, 190'000, 10'000, 140'000, 560'000'000, 10'000, 6.2e8, 11'111.1, 40ms},
      {2, 30ms, 9'500, 0, 9'500, 38'000'000, 500, 1.25e9, 16'666.7, 2ms},
      {3, 2ms, 500, 0, 500, 2'000'000, 60, 1.0e9, 30'000, 912us},
  };
  r.predicted_downtime = 912us;
  r.budget = migration::DowntimeBudget{38us, 119us, 40us, 232us, 160us, 190us, 73us, 60us};
  r.round_trip = 73us;
  r.rehearsal_stall = 210us;
  r.peer = "tcp://10.0.0.2:7000 (TLS_AES_256_GCM_SHA384, CN=host2)";
  r.tracker = "dirty-ring";
  r.protocol = "TLS_AES_256_GCM_SHA384";
  r.channels = 2;
  r.downtime_bytes = 250'000;
  r.source_cpu_seconds = 0.41;
  r.send_calls = 4'321;
  return r;
}

}  // namespace godwit::tools
