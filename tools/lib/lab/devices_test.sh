# shellcheck shell=bash
# The devices of the Debian guest at work while it moves: a part of tools/lab test (test_debian).
# Sourced by tools/lab.
#
# Each load begins before the moves and ends after them: fio on a second disk, iperf3 both ways,
# random numbers, the balloon, streams over vsock.

SCRATCH_PORT=10810
SCRATCH_SIZE=32M
VSOCK=/run/lab/vsock

# A second disk and a vsock.
devices_under_test() {
  printf -- '--disk nbd=nbd://%s:%s/,queues=2,serial=SCRATCH ' "$(address_of client)" $SCRATCH_PORT
  printf -- '--vsock cid=3,path=%s' "$VSOCK"
}

# serve_scratch: that disk, for both hosts.
serve_scratch() {
  start_process scratch nsenter --net="/proc/$(pid_of net)/ns/net" -- \
    nbdkit --foreground --ipaddr "$(address_of client)" --port $SCRATCH_PORT memory $SCRATCH_SIZE
}

# in_unit NAME COMMAND: a line of shell in the guest that goes on by itself.
in_unit() {
  in_guest 120 "systemd-run --quiet --unit=$1 bash -c $(quoted "$2")"
}

# fio_on_disk OUTPUT OPTION...: jobs with checksums on the second disk.
fio_on_disk() {
  printf 'fio --filename=/dev/vdb --direct=1 --ioengine=libaio --thread --verify=crc32c '
  printf -- '--verify_fatal=1 --output=/run/%s.fio %s ' "$1" "${*:2}"
}
KEPT_JOB='--name=kept --size=1M --rw=randwrite --bs=4k --iodepth=16'

# start_disk_load: one part of the disk is written now and read when all moves are over; on three
# others fio writes and reads back, again and again, until /run/enough is there. No faster than the
# slowest host can stand with all else that goes on.
start_disk_load() {
  in_guest 240 "grep -qx SCRATCH /sys/block/vdb/serial && [ -d /sys/block/vdb/mq/1 ] &&
    $(fio_on_disk kept "$KEPT_JOB --do_verify=0") &&
    blkdiscard -z -o 4M -l 4M /dev/vdb && blkdiscard -o 4M -l 2M /dev/vdb" | tail -n 3
  [ "${PIPESTATUS[0]}" -eq 0 ] || return
  in_unit disk-load "until [ -e /run/enough ]; do $(fio_on_disk passes --randseed=\$RANDOM \
    --name=sequential --offset=8M --size=2M --rw=write --bs=64k --iodepth=4 --thinktime=100ms \
    --name=random --offset=16M --size=1M --rw=randwrite --bsrange=512-16k --iodepth=16 \
    --thinktime=300ms --thinktime_blocks=16 --name=trimmed --offset=20M --size=1M \
    --rw=trimwrite --bs=32k --thinktime=50ms) &&
    echo pass >>/run/passes || exit 1; done; touch /run/fio-done"
}

# finish_disk_load: what was written before the moves is there, and all that was read was right.
finish_disk_load() {
  in_guest 240 "(touch /run/enough;
    while systemctl --quiet is-active disk-load; do sleep 0.5; done;
    [ -e /run/fio-done ] || { tail -n 4 /run/*.fio; exit 1; };
    $(fio_on_disk kept "$KEPT_JOB --verify_only") &&
    cmp -n 4194304 -i 4194304:0 /dev/vdb /dev/zero &&
    echo \"\$(wc -l </run/passes) times\")" 2>&1 | tail -n 4
  [ "${PIPESTATUS[0]}" -eq 0 ]
}

# start_traffic: iperf3 both ways at once.
start_traffic() {
  in_unit iperf 'exec iperf3 --server' || return
  in_guest 120 'until grep -q ":1451 .* 0A " /proc/net/tcp /proc/net/tcp6; do sleep 0.2; done' ||
    return
  start_process iperf nsenter --net="/proc/$(pid_of net)/ns/net" -- \
    iperf3 --client "$DEBIAN_ADDRESS" --bidir --bitrate 1M --time 0 --forceflush
  traffic_flows
}

# traffic_flows: both ways, from now on, over the connections that were there.
traffic_flows() {
  local i seen ways
  seen=$(wc -l <"$LAB/iperf.log")
  for ((i = 0; i < 120; i++)); do
    process_runs iperf || break
    ways=$(tail -n "+$((seen + 1))" "$LAB/iperf.log" | grep -v ' 0.00 bits/sec' |
      grep -o '\[[TR]X-C\]' | sort -u | wc -l)
    [ "$ways" -ne 2 ] || return 0
    sleep 0.5
  done
  tail -n 4 "$LAB/iperf.log"
  return 1
}

# finish_traffic: with what went each way.
finish_traffic() {
  local pid status=0
  traffic_flows || status=1
  # Interrupted, it says its sums.
  ! pid=$(pid_of iperf) || kill -INT "$pid"
  sleep 1
  stop_process iperf
  # What the guest got, it does not say any more.
  sed -nE 's/.*\[TX-C\].* sec +([0-9.]+ [KMG]*Bytes) .*sender$/\1 in/p
    s/.*\[RX-C\].* sec +([0-9.]+ [KMG]*Bytes) .*receiver$/\1 out/p' "$LAB/iperf.log" |
    paste -s -d ' '
  return $status
}

start_random() {
  in_unit random 'until [ -e /run/enough ]; do
    dd if=/dev/hwrng bs=4096 count=4 iflag=fullblock status=none | sha256sum >>/run/random;
    sleep 0.2; done'
}

# finish_random: no block came twice.
finish_random() {
  in_guest 120 'while systemctl --quiet is-active random; do sleep 0.2; done;
    [ -z "$(sort /run/random | uniq -d)" ] && echo "$(wc -l </run/random) blocks of 16 KiB"'
}

# stream_to_guest HOST NAME: an open stream to the guest's echo service, which has answered.
# NAME.ended is there when it has ended.
stream_to_guest() {
  run_quietly "$1" 30 "cd /run/lab && rm -f $2 $2.ended && setsid sh -c '(echo CONNECT 7; echo hello
    exec sleep 300) | { socat - UNIX-CONNECT:$VSOCK >$2; touch $2.ended; }' \
    >/dev/null 2>&1 </dev/null &"
  wait_in "$1" 120 "/run/lab/$2" '^hello$' && return
  run_on "$1" no 20 "head -n 3 /run/lab/$2"
  return 1
}

# stream_from_guest HOST NAME: the other way. Its end in the guest is the unit NAME.
stream_from_guest() {
  run_quietly "$1" 30 "cd /run/lab && rm -f $2 $2.ended ${VSOCK}_77 && setsid sh -c '
    socat -u UNIX-LISTEN:${VSOCK}_77 CREATE:$2; touch $2.ended' >/dev/null 2>&1 </dev/null &"
  in_unit "$2" 'exec socat - VSOCK-CONNECT:2:77 < <(echo hello; exec sleep 300)' || return
  wait_in "$1" 60 "/run/lab/$2" '^hello$'
}

start_streams() { stream_to_guest "$GUEST_HOST" to && stream_from_guest "$GUEST_HOST" from; }

# streams_reset HOST: all four ends of what was open there before the guest left have ended.
streams_reset() {
  run_quietly "$1" 40 'for i in $(seq 100); do
      [ -e /run/lab/to.ended ] && [ -e /run/lab/from.ended ] && exit 0
      sleep 0.25
    done; ls /run/lab; exit 1' || return
  in_guest 120 "(for i in \$(seq 100); do systemctl --quiet is-active from 'echo@*' || exit 0;
    sleep 0.25; done; systemctl list-units from 'echo@*'; exit 1)"
}

# balloon_asks SIZE; balloon_reached SIZE: the guest has as much by now, or soon.
balloon_asks() { run_quietly "$GUEST_HOST" 30 "godwit balloon $GUEST_NAME $1"; }
balloon_reached() {
  local i said
  for ((i = 0; i < 120; i++)); do
    said=$(run_on "$GUEST_HOST" no 20 "godwit info $GUEST_NAME" | grep -i balloon)
    [[ $said != *"gets along with $1"* ]] || return 0
    sleep 0.5
  done
  printf '%s' "$said"
  return 1
}

# test_devices: with Debian running, and nobody else who uses its echo service.
test_devices() {
  local from=$GUEST_HOST first=$GUEST_CONSOLES
  check 'a second disk with 2 queues takes fio with checksums, discard and write-zeroes' \
    start_disk_load || return 0
  check 'iperf3 runs both ways' start_traffic || return 0
  check 'streams over vsock, to the guest and from it' start_streams || true
  check 'it reads random numbers' start_random || return 0
  check 'it is asked for memory' balloon_asks 320M || return 0
  # The balloon is inflated in the first of these moves and deflated in the second.
  moves_well 1 || { check 'it moves under load' false; return 0; }
  check 'the streams were reset at both ends' streams_reset "$from" || true
  check 'new ones work' stream_to_guest "$GUEST_HOST" to || true
  check 'the balloon that was inflated in a move is as large as asked' balloon_reached '320 MiB' ||
    true
  check 'iperf3 goes on' traffic_flows || true
  balloon_asks "$GUEST_MEMORY"
  moves_well 1 || { check 'it moves back under load' false; return 0; }
  check 'the balloon that was deflated in a move is gone' balloon_reached "${GUEST_MEMORY%M} MiB" ||
    true
  check 'iperf3 has lived through both moves' finish_traffic || true
  check 'fio found all that it wrote, before, in and after moves' finish_disk_load || true
  check 'random numbers came all the time, no block twice' finish_random || true
  check 'hashes of all guest memory are equal' memory_equal "$first" $((first + 1)) || true
}
