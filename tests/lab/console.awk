# Checks what a guest of the lab said on its serial console (pulse.cc) while it moved. The input is
# the consoles of all hosts it was on, in their order, joined as they are: a line that a move cut in
# two is whole again. `bounds` says after how many bytes each move was: -v bounds="1024 4096".
#
# Prints a line for each move and one for all of it, of NAME=VALUE; times are in us. steps are from
# the last line before a move to the first one after it; drift is how far CLOCK_REALTIME has moved
# against CLOCK_MONOTONIC since the first line. LC_ALL=C, or bytes are not counted right.

function value(name,    i, pair) {
  for (i = 1; i <= NF; i++) {
    split($i, pair, "=")
    if (pair[1] == name) return pair[2] + 0
  }
  return 0
}

function count(name, line) {
  counts[name]++
  printf "%s: %s\n", name, line
}

BEGIN { moves = split(bounds, bound, " "); move = 0 }

{
  offset += length($0) + 1
  sub(/\r$/, "")
}

/^seq=[0-9]+ mono=[0-9]+ real=[0-9]+ gap=[0-9]+ back=[0-9]+ bad=[0-9]+ checked=[0-9]+$/ {
  seq = value("seq"); mono = value("mono"); real = value("real"); gap = value("gap")
  if (!lines) {
    first = seq
    difference = real - mono
  } else {
    if (seq > last + 1) count("lost", "after seq=" last ": " $0)
    if (seq <= last) count("repeated", "after seq=" last ": " $0)
    if (mono < last_mono) count("mono_back", "after mono=" last_mono ": " $0)
    if (real < last_real) count("real_back", "after real=" last_real ": " $0)
  }
  if (value("back") > back) count("clock_back", $0)
  back = value("back"); bad = value("bad"); checked = value("checked")
  away = real - mono - difference
  if (away < 0) away = -away
  if (away > drift) drift = away
  # The line that was on its way when the guest was stopped says nothing of the gap: the next does.
  while (move < moves && offset > bound[move + 1]) {
    move++
    if (!lines) continue
    before[move] = last; step_mono[move] = mono - last_mono; step_real[move] = real - last_real
    since = 0
  }
  if (move && since < 2) {
    since++
    if (gap > gaps[move]) gaps[move] = gap
    if (since == 2) {
      after[move] = seq
      if (mono - last_mono > step_mono[move]) step_mono[move] = mono - last_mono
      if (real - last_real > step_real[move]) step_real[move] = real - last_real
    }
  }
  if (gap > worst) worst = gap
  lines++; last = seq; last_mono = mono; last_real = real
  next
}

# It says only that the guest's CPU was away for a while, which an emulated one is often.
/^kmsg: clocksource: Long readout interval, skipping watchdog check/ { next }
/^kmsg: hrtimer: interrupt took [0-9]+ ns/ { next }
/^kmsg: / { if (lines) count("kernel", $0); next }
/^bad: / { print; next }
/^guest: the power button was pressed$/ { next }
lines { count("strange", $0) }

END {
  for (i = 1; i <= moves; i++)
    printf "move=%d before=%d after=%d gap=%.0f mono_step=%.0f real_step=%.0f\n", i, before[i],
      after[i], gaps[i], step_mono[i], step_real[i]
  printf "lines=%d first=%d last=%d lost=%d repeated=%d mono_back=%d real_back=%d clock_back=%d" \
    " bad=%d checked=%.0f drift=%.0f worst=%.0f kernel=%d strange=%d\n", lines, first, last,
    counts["lost"], counts["repeated"], counts["mono_back"], counts["real_back"],
    counts["clock_back"], bad, checked, drift, worst, counts["kernel"], counts["strange"]
}
