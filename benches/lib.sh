# shellcheck shell=bash
# shellcheck disable=SC2034  # names for the scripts that source this
# How the benchmarks measure a program; sourced, never run.
#
# CPU time is user + system of the whole process, from its start to its end, everything it stores
# included. What is measured runs on $CPU alone; what feeds it on $FEEDER.

set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin

die() {
    echo "bench: $*" >&2
    exit 1
}

# median NUMBER...: of an even number, the lower one in the middle.
median() { printf '%s\n' "$@" | sort -g | sed -n "$((($# + 1) / 2))p"; }

# children_ms FILE: the CPU time of all children, from what `times` printed to FILE, in milliseconds.
children_ms() {
    awk 'NR == 2 { for (i = 1; i <= 2; i++) { split($i, t, /[ms]/); ms += 60000 * t[1] + 1000 * t[2] } printf "%.0f", ms }' "$1"
}

# until_true WHAT COMMAND...: wait at most 30 s.
until_true() {
    local what=$1 tries=1500
    shift
    until "$@" >/dev/null 2>&1; do
        ((tries-- > 0)) || die "gave up waiting for $what"
        sleep 0.02
    done
}

# measure COMMAND...: run it to its end; sets CPU_MS and PEAK_KIB.
measure() {
    (
        taskset -c "$CPU" /usr/bin/time -q -f %M -o "$WORK/peak" "$@" >"$WORK/log" 2>&1
        times >"$WORK/times"
    ) || die "$1 failed: $(tail -3 "$WORK/log")"
    CPU_MS=$(children_ms "$WORK/times")
    PEAK_KIB=$(tail -1 "$WORK/peak")
}

# start COMMAND...: start it; sets MEASURED, its pid. Its output is in $WORK/out and $WORK/log.
start() {
    (
        taskset -c "$CPU" "$@" >"$WORK/out" 2>"$WORK/log" &
        echo "$!" >"$WORK/pid.new"
        mv "$WORK/pid.new" "$WORK/pid"
        wait "$!" || true
        times >"$WORK/times"
    ) &
    RUNNING=$!
    until_true "a pid" test -s "$WORK/pid"
    MEASURED=$(<"$WORK/pid")
}

# finish: stop what `start` started, as an administrator would; sets CPU_MS and PEAK_KIB.
finish() {
    PEAK_KIB=$(status_kib VmHWM)
    kill "$MEASURED"
    wait "$RUNNING"
    rm "$WORK/pid"
    MEASURED='' RUNNING=''
    CPU_MS=$(children_ms "$WORK/times")
}

# status_kib NAME: a line of /proc/PID/status of what `start` started.
status_kib() { awk -v name="$1:" '$1 == name { print $2 }' "/proc/$MEASURED/status"; }

# start_flowtap SETTINGS: start it with these lines of configuration and an empty store; sets HTTP,
# SFLOW and PCAP, where it listens.
start_flowtap() {
    rm -rf "$WORK/store"
    printf '%b\n' "$1" >"$WORK/flowtap.toml"
    local any=127.0.0.1:0
    start "$FLOWTAP" up --config "$WORK/flowtap.toml" --data-dir "$WORK/store" --log warn \
        --listen $any --sflow $any --pcap-socket $any
    until_true "flowtap up" grep -q 'Try next' "$WORK/out"
    HTTP=$(sed -n 's|^ *HTTP *http://||p' "$WORK/out")
    SFLOW=$(sed -n 's/^ *sFlow *UDP //p' "$WORK/out")
    PCAP=$(sed -n 's/^ *pcap socket *TCP //p' "$WORK/out")
}

# threads_ms NAME: the CPU time so far of those threads of what `start` started that have this name.
threads_ms() {
    local task name
    for task in "/proc/$MEASURED/task/"*; do
        read -r name <"$task/comm" || continue
        [[ $name = "$1" ]] || continue
        # Nanoseconds on a processor come first.
        cat "$task/schedstat"
    done | awk '{ ns += $1 } END { printf "%.0f", ns / 1e6 }'
}

# packets_kept: those that became part of a flow, whatever the input.
packets_kept() {
    curl -fsS "http://$HTTP/api/status" | grep -o '"Kept":[0-9]*' | awk -F: '{ kept += $2 } END { print kept + 0 }'
}

# live_flows: those in the flow table.
live_flows() { curl -fsS "http://$HTTP/api/status" | grep -o '"Table":{"Flows":[0-9]*' | grep -o '[0-9]*$'; }

# udp_socket PORT COLUMN: of the socket bound to that port on loopback: `waiting`, the bytes in its queue
# in hexadecimal, or `drops`. Nothing if there is none.
udp_socket() {
    awk -v port="$(printf ':%04X' "$1")" -v want="$2" '
        $2 ~ port "$" { split($5, queue, ":"); print want == "drops" ? $NF : queue[2] }' /proc/net/udp
}

clean_up() {
    local pid
    for pid in "${MEASURED:-}" "${SINK:-}"; do [[ -z $pid ]] || kill "$pid" 2>/dev/null || true; done
    wait 2>/dev/null || true
    rm -rf "$WORK"
}
