# shellcheck shell=bash
# tools/lab bench: Godwit's devices and moves beside QEMU's in the same emulated hosts. Sourced by
# tools/lab.
#
# The VMMs take turns, one boot each (bench_vmm.sh), so that what slows this machine down for a
# while hits all of them. Each measured value is a line "KIND JOB VALUE" in $BENCH_VALUES.
# shellcheck disable=SC2034 # other parts use it

# Job, what it is, unit.
BENCH_JOBS='
read-latency|disk, random read, 4 KiB, 1 in flight: median latency|us
write-latency|disk, random write, 4 KiB, 1 in flight: median latency|us
read-iops|disk, random read, 4 KiB, 16 in flight|requests/s
write-iops|disk, random write, 4 KiB, 16 in flight|requests/s
read-rate|disk, sequential read, 1 MiB, 4 in flight|MiB/s
write-rate|disk, sequential write, 1 MiB, 4 in flight|MiB/s
net-in|TCP to the guest|Mbit/s
net-out|TCP from the guest|Mbit/s
ping|echo request to the guest: median round trip|us
move-gap|move: the guest stood still|ms
move-client|move: a client waited|ms
move-downtime|move: downtime, as the VMM has it|ms
move-total|move: total time, as the VMM has it|ms
'
# Who is measured, by what is measured.
declare -A BENCH_KINDS=([devices]='godwit qemu qemu-vhost' [moves]='godwit qemu qemu-tuned')
# Of QEMU with multifd, ms: what godwit aims at without being told.
BENCH_TUNED_LIMIT=50

# measured KIND JOB VALUE
measured() {
  if ! [[ $3 =~ ^[0-9]+(\.[0-9]+)?$ ]]; then
    printf 'no figure for %s under %s: "%s"\n' "$2" "$1" "$3" >&2
    return 1
  fi
  printf '%s %s %s\n' "$1" "$2" "$3" >>"$BENCH_VALUES"
}

# fio_value FIELD OPTION...: a field of fio's terse output (version 3), from the guest.
fio_value() {
  local field=$1 line
  shift
  line=$(in_guest $((BENCH_SECONDS * 4 + 60)) "fio --name=job --filename=/dev/vda --direct=1 \
    --ioengine=libaio --time_based --ramp_time=1 --runtime=$BENCH_SECONDS --output-format=terse \
    --terse-version=3 $*" | grep '^3;fio') || return
  # Percentiles look as 50.000000%=123.
  line=$(cut -d ';' -f "$field" <<<"$line")
  printf '%s' "${line##*=}"
}

# Fields: read 7 KiB/s, 8 requests/s, 24 median latency; write 41 further on.
bench_disk() {
  local kind=$1 value
  value=$(fio_value 24 --rw=randread --bs=4k --ioengine=psync) &&
    measured "$kind" read-latency "$value" &&
    value=$(fio_value 65 --rw=randwrite --bs=4k --ioengine=psync) &&
    measured "$kind" write-latency "$value" &&
    value=$(fio_value 8 --rw=randread --bs=4k --iodepth=16) &&
    measured "$kind" read-iops "$value" &&
    value=$(fio_value 49 --rw=randwrite --bs=4k --iodepth=16) &&
    measured "$kind" write-iops "$value" &&
    value=$(fio_value 7 --rw=read --bs=1m --iodepth=4) &&
    measured "$kind" read-rate $((value / 1024)) &&
    value=$(fio_value 48 --rw=write --bs=1m --iodepth=4) &&
    measured "$kind" write-rate $((value / 1024))
}

# iperf_rate OPTION...: what host a and the guest exchanged, Mbit/s at the receiver.
iperf_rate() {
  run_on a no $((BENCH_SECONDS * 4 + 30)) "iperf3 --client $DEBIAN_ADDRESS --format m \
    --time $BENCH_SECONDS --omit 1 $*" | sed -n 's/.* \([0-9.]*\) Mbits\/sec .*receiver$/\1/p'
}

bench_net() {
  local kind=$1 value
  in_guest 20 'iperf3 --server --daemon' || return
  value=$(iperf_rate) && measured "$kind" net-in "$value" &&
    value=$(iperf_rate --reverse) && measured "$kind" net-out "$value" &&
    value=$(run_on a no 60 "ping -A -c $((BENCH_SECONDS * 60)) -w $((BENCH_SECONDS * 4)) \
      $DEBIAN_ADDRESS" | sed -n 's/.*time=\([0-9.]*\) ms$/\1/p' | sort -n |
      awk '{ v[NR] = $1 } END { if (NR) printf "%d", v[int((NR + 1) / 2)] * 1000 }') &&
    measured "$kind" ping "$value"
}

# bench_devices KIND: boots, measures, ends.
bench_devices() {
  local status=0
  boot_bench "$1" '' devices && bench_disk "$1" && bench_net "$1" || status=1
  stop_vmm a 0 || status=1
  return $status
}

# bench_moves KIND: a guest that writes memory and a client that calls it, from host a to b.
bench_moves() {
  local kind=$1 figures status=1 begin
  boot_bench "$kind" "lab.mib=$GUEST_BUSY_MIB lab.rate=$GUEST_BUSY_RATE" moves &&
    start_caller && sleep 2 && begin=$(now_us) &&
    if [ "$kind" = godwit ]; then figures=$(godwit_move); else figures=$(qemu_move "$kind"); fi &&
    wait_in b 60 /run/lab/console.1 '^seq=' 20 && sleep 1 &&
    GUEST_HOST=b GUEST_CONSOLES=2 && get_file a /run/lab/console.0 "$GUEST_DIR/console.0" &&
    check_console && finish_caller >/dev/null &&
    measured "$kind" move-gap $(($(move_value 1 gap) / 1000)) &&
    measured "$kind" move-client $(($(worst_call "$begin" "$(now_us)") / 1000)) &&
    measured "$kind" move-downtime "${figures% *}" &&
    measured "$kind" move-total "${figures#* }" && status=0
  [ $status -eq 0 ] || guest_trouble "no measured move under $kind"
  stop_process caller
  stop_vmm a 0 && stop_vmm b 1 || status=1
  return $status
}

# bench_rows: of all values "JOB KIND MEDIAN LEAST GREATEST".
bench_rows() {
  LC_ALL=C sort -k 2,2 -k 1,1 -k 3,3n "$BENCH_VALUES" | LC_ALL=C awk '
    function short(x) { return x < 100 && x != int(x) ? sprintf("%.1f", x) : sprintf("%.0f", x) }
    function row() { if (n) print job, kind, short(v[int((n + 1) / 2)]), short(v[1]), short(v[n]) }
    $1 != kind || $2 != job { row(); n = 0; kind = $1; job = $2 }
    { v[++n] = $3 }
    END { row() }'
}

# bench_table: a line for each job, a column for each VMM.
bench_table() {
  local job what unit kind rows cell line
  rows=$(bench_rows)
  printf '| median (least to greatest) | godwit | QEMU | QEMU, vhost-net or tuned |\n'
  printf '|---|---|---|---|\n'
  while IFS='|' read -r job what unit; do
    grep -q "^$job " <<<"$rows" || continue
    line="| $what, $unit |"
    for kind in godwit qemu 'qemu-.*'; do
      cell=$(sed -nE "s/^$job $kind ([^ ]+) ([^ ]+) ([^ ]+)/\\1 (\\2 to \\3)/p" <<<"$rows")
      line+=" ${cell:--} |"
    done
    printf '%s\n' "$line"
  done < <(sed '/^$/d' <<<"$BENCH_JOBS")
}

# bench_json: every value.
bench_json() {
  local kind job value first=
  printf '{"seconds":%s,"runs":%s,"values":[' "$BENCH_SECONDS" "$BENCH_RUNS"
  while read -r kind job value; do
    printf '%s{"vmm":"%s","job":"%s","unit":"%s","value":%s}' "$first" "$kind" "$job" \
      "$(sed -n "s/^$job|.*|//p" <<<"$BENCH_JOBS")" "$value"
    first=,
  done <"$BENCH_VALUES"
  printf ']}\n'
}

# lab_bench PARTS JSON: PARTS are of devices, moves.
lab_bench() {
  local parts=$1 json=$2 run part kind begin=$SECONDS failed=0
  # A lab of its own, as its hosts have more in them.
  LAB=$LAB-bench GUEST_DIR=$LAB/guest BENCH_VALUES=$LAB/values
  lock_lab
  stop_lab
  default_options
  bench_host_image
  bring_up >&2
  trap 'stop_lab' EXIT
  prepare_bench
  : >"$BENCH_VALUES"
  for ((run = 1; run <= BENCH_RUNS; run++)); do
    for part in $parts; do
      for kind in ${BENCH_KINDS[$part]}; do
        printf 'lab: run %s of %s, %s: %s\n' "$run" "$BENCH_RUNS" "$part" "$kind" >&2
        "bench_$part" "$kind" || failed=$((failed + 1))
      done
    done
  done
  if $json; then bench_json; else bench_table; fi
  printf 'lab: %s s, %s without figures\n' $((SECONDS - begin)) $failed >&2
  [ $failed -eq 0 ]
}
