#!/bin/bash
# sFlow over UDP: flowtap beside sfcapd, fed with the same datagrams. Called by scripts/bench.sh, which sets
# FLOWTAP, CAPGEN, DATA, WORK, CPU, FEEDER, RUNS and RATE.
source "$(dirname "$0")/lib.sh"
trap clean_up EXIT
trap 'exit 130' INT TERM

read -r DATAGRAMS SAMPLES <"$DATA/sflow.count"

bound() { [[ -n $(udp_socket "$1" drops) ]]; }
drained() { [[ $(udp_socket "$1" waiting) = 00000000 ]]; }

# feed PORT: send everything, wait until it is read; sets LOST, datagrams.
feed() {
    taskset -c "$FEEDER" "$CAPGEN" send "$DATA/sflow.pcap" "127.0.0.1:$1" "$RATE" >"$WORK/sent"
    until_true "an empty receive queue" drained "$1"
    LOST=$(udp_socket "$1" drops)
}

flowtap() {
    start_flowtap "$1"
    feed "${SFLOW##*:}"
    TABLE_MS=$(threads_ms sflow)
    finish
}

sfcapd() {
    local port=$((20000 + RANDOM % 10000))
    rm -rf "$WORK/nfcapd"
    mkdir "$WORK/nfcapd"
    TABLE_MS=0
    start sfcapd -w "$WORK/nfcapd" -p "$port" -b 127.0.0.1 -B 4194304 -t 3600
    until_true sfcapd bound "$port"
    feed "$port"
    finish
}

declare -A SETTINGS=(
    ["flowtap"]='[packets]\nper_flow = 0'
    ["flowtap, 20 kept"]=''
)
TOOLS=("flowtap" "flowtap, 20 kept")
! command -v sfcapd >/dev/null || TOOLS+=(sfcapd)

# shellcheck disable=SC2086  # lists of numbers
per_sample() { awk -v ms="$(median $1)" -v n="$SAMPLES" 'BEGIN { printf "%.0f", ms * 1e6 / n }'; }

# scaled MS: what the kernel dropped is not work done.
scaled() { awk -v ms="$1" -v n="$DATAGRAMS" -v lost="$LOST" 'BEGIN { print ms * n / (n - lost) }'; }

declare -A CPU_OF TABLE_OF LOST_OF PEAK_OF
for ((i = 0; i < RUNS; i++)); do
    for tool in "${TOOLS[@]}"; do
        case $tool in
            flowtap*) flowtap "${SETTINGS[$tool]}" ;;
            *) "$tool" ;;
        esac
        CPU_OF[$tool]+=" $(scaled "$CPU_MS")"
        TABLE_OF[$tool]+=" $(scaled "$TABLE_MS")"
        LOST_OF[$tool]+=" $LOST"
        PEAK_OF[$tool]=$PEAK_KIB
    done
done

printf '\nsFlow: %s datagrams, %s flow samples, %s datagrams a second\n' "$DATAGRAMS" "$SAMPLES" "$RATE"
printf '%-22s %9s %9s %9s %9s %9s %9s\n' "" "CPU ms" "ns/sample" "to table" "/sfcapd" "lost" "peak MiB"
for tool in "${TOOLS[@]}"; do
    # shellcheck disable=SC2086  # lists of numbers
    ms=$(median ${CPU_OF[$tool]}) lost=$(median ${LOST_OF[$tool]}) ratio=-
    if [[ -n ${CPU_OF[sfcapd]:-} ]]; then
        # shellcheck disable=SC2086  # a list of numbers
        ratio=$(awk -v a="$ms" -v b="$(median ${CPU_OF[sfcapd]})" 'BEGIN { printf "%.2f", a / b }')
    fi
    printf '%-22s %9.0f %9s %9s %9s %9s %9s\n' "$tool" "$ms" "$(per_sample "${CPU_OF[$tool]}")" \
        "$(per_sample "${TABLE_OF[$tool]}")" "$ratio" "$lost" "$((PEAK_OF[$tool] / 1024))"
done
