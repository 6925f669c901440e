#!/bin/bash
# Whole files: flowtap beside softflowd, nfpcapd and tshark. Called by scripts/bench.sh, which sets
# FLOWTAP, CAPGEN, DATA, WORK, CPU, FEEDER and RUNS.
source "$(dirname "$0")/lib.sh"
trap clean_up EXIT
trap 'exit 130' INT TERM

# So many packets of a file are enough for tshark.
TSHARK_PACKETS=50000
NETFLOW=127.0.0.1:$((20000 + RANDOM % 10000))

# of FILE: the packets in it.
of() { cat "$DATA/$1.count"; }

# flowtap FILE SETTINGS [tcp]: the whole way: reading, decoding, flow table, records in SQLite. It is handed the
# file and reads it itself, as its peers do; or gets it over TCP, as from standard input.
flowtap() {
    start_flowtap "$2"
    local input=$DATA/$1.pcap kept
    [[ ${3:-} != tcp ]] || input=-
    taskset -c "$FEEDER" "$FLOWTAP" replay --to "$PCAP" "$input" <"$DATA/$1.pcap" 2>/dev/null
    kept=$(packets_kept)
    [[ $kept = "$(of "$1")" ]] || die "flowtap took $kept packets of $(of "$1"): $(tail -3 "$WORK/log")"
    finish
}

# The flows of each file all fit into its table, as they do for the others.
softflowd() { measure softflowd -r "$DATA/$1.pcap" -n "$NETFLOW" -v 9 -c none -p "$WORK/softflowd.pid" -m 20000000 -d; }

nfpcapd() {
    rm -rf "$WORK/nfcapd"
    mkdir "$WORK/nfcapd"
    measure nfpcapd -r "$DATA/$1.pcap" -w "$WORK/nfcapd"
}

tshark() { measure tshark -q -z conv,tcp -z conv,udp -c "$TSHARK_PACKETS" -r "$DATA/$1.pcap"; }

# run TOOL FILE: one measurement; keeps it in CPU_OF and PEAK_OF.
declare -A CPU_OF PEAK_OF
run() {
    local tool=$1 file=$2
    # Each finds the file in memory: some systems take it from there when nobody has read it for seconds.
    cat "$DATA/$file.pcap" >/dev/null
    case $tool in
        *TCP) flowtap "$file" "${SETTINGS[$tool]}" tcp ;;
        flowtap*) flowtap "$file" "${SETTINGS[$tool]}" ;;
        *) "$tool" "$file" ;;
    esac
    CPU_OF[$file/$tool]+=" $CPU_MS"
    PEAK_OF[$file/$tool]=$PEAK_KIB
}

# ns FILE TOOL: median nanoseconds a packet.
ns() {
    local packets ms
    packets=$(of "$1")
    [[ $2 != tshark ]] || packets=$TSHARK_PACKETS
    # shellcheck disable=SC2086  # a list
    ms=$(median ${CPU_OF[$1/$2]})
    echo $((ms * 1000000 / packets))
}

# row FILE TOOL: one line of the table, with the ratio to each peer.
row() {
    local file=$1 tool=$2 peer ratios=''
    for peer in "${PEERS[@]}"; do
        [[ -n ${CPU_OF[$file/$peer]:-} ]] || continue
        ratios+=$(awk -v a="$(ns "$file" "$tool")" -v b="$(ns "$file" "$peer")" 'BEGIN { printf " %9.2f", a / b }')
    done
    # shellcheck disable=SC2086  # a list
    printf '%-22s %9s %9s %9s%s\n' "$tool" "$(median ${CPU_OF[$file/$tool]})" "$(ns "$file" "$tool")" \
        "$((PEAK_OF[$file/$tool] / 1024))" "$ratios"
}

declare -A SETTINGS=(
    ["flowtap"]='[packets]\nper_flow = 0'
    ["flowtap, TCP"]='[packets]\nper_flow = 0'
    ["flowtap, 5 kept"]='[packets]\nper_flow = 5'
    ["flowtap, 20 kept"]='[packets]\nper_flow = 20'
)
OURS=("flowtap" "flowtap, TCP" "flowtap, 5 kept" "flowtap, 20 kept")
PEERS=()
for tool in softflowd nfpcapd tshark; do command -v "$tool" >/dev/null && PEERS+=("$tool"); done

taskset -c "$FEEDER" "$CAPGEN" sink "$NETFLOW" &
SINK=$!
for file in mix small churn; do
    for ((i = 0; i < RUNS; i++)); do
        for tool in "${OURS[@]}" "${PEERS[@]}"; do
            # tshark is far behind; once tells it.
            [[ $tool != tshark || $i = 0 ]] || continue
            run "$tool" "$file"
        done
    done
    printf '\n%s: %s packets, %s MB\n' "$file" "$(of "$file")" "$(($(stat -c %s "$DATA/$file.pcap") / 1000000))"
    printf '%-22s %9s %9s %9s' "" "CPU ms" "ns/packet" "peak MiB"
    ((${#PEERS[@]} == 0)) || printf ' %9s' "${PEERS[@]/#/\/}"
    echo
    for tool in "${OURS[@]}" "${PEERS[@]}"; do row "$file" "$tool"; done
done

# Memory: a table that holds every flow of churn, and what the process grew by.
flows=$(($(of churn) / 2))
start_flowtap "[packets]\nper_flow = 0\n[flows]\nmax = $((flows * 5 / 4))"
before=$(status_kib VmRSS)
taskset -c "$FEEDER" "$FLOWTAP" replay --to "$PCAP" "$DATA/churn.pcap" 2>/dev/null
after=$(status_kib VmRSS)
live=$(live_flows)
printf '\nmemory: %s live flows, %s bytes a flow\n' "$live" "$(((after - before) * 1024 / live))"
finish
start_flowtap ''
finish
printf 'an idle flowtap, started and stopped: %s ms CPU (included above)\n' "$CPU_MS"
