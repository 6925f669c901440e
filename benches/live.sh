#!/bin/bash
# Live on a veth pair: the highest rate that is taken with less than 0.1 % lost, and the CPU time of a
# packet there: flowtap beside tcpdump, dumpcap, softflowd and nfpcapd. Called by scripts/bench.sh, which
# sets FLOWTAP, FLOOD, WORK, CPU, FEEDER and RATES.
#
# It runs in a network namespace of its own. The kernel's part, into the ring of the tool, is done by the
# sender's processor and is not in the tool's time.

[[ ${IN_NAMESPACE:-} ]] || exec env IN_NAMESPACE=1 unshare --net "$0"
source "$(dirname "$0")/lib.sh"
trap clean_up EXIT
trap 'exit 130' INT TERM

SECONDS_EACH=3
NETFLOW=127.0.0.1:$((20000 + RANDOM % 10000))

sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1
ip link set lo up
ip link add name bench0 type veth peer name bench1
ip link set bench0 up
ip link set bench1 up

# cpu_ns: the time on processors so far of all threads of what `start` started.
cpu_ns() { cat "/proc/$MEASURED/task/"*/schedstat 2>/dev/null | awk '{ ns += $1 } END { printf "%.0f", ns }'; }

# logged TEXT: in what the tool wrote.
logged() { grep -q "$1" "$WORK/log" "$WORK/out"; }

# end_tool: as an administrator would with Ctrl-C: these tools then tell what they saw.
end_tool() {
    kill -INT "$MEASURED"
    wait "$RUNNING"
    rm "$WORK/pid"
    MEASURED='' RUNNING=''
}

# flood RATE: send; sets SENT, and NS, the tool's time meanwhile. Before, every flow is sent once or more: what
# is measured is flows that are known; KNOWN packets of these.
flood() {
    local before
    KNOWN=$(taskset -c "$FEEDER" "$FLOOD" bench0 20000 1)
    KNOWN=${KNOWN% *}
    sleep 1
    before=$(cpu_ns)
    SENT=$(taskset -c "$FEEDER" "$FLOOD" bench0 "$1" $SECONDS_EACH)
    SENT=${SENT% *}
    # What is queued is taken, too.
    sleep 0.3
    NS=$(($(cpu_ns) - before))
}

# Each tool runs once for each rate, and sets TAKEN and LOST, packets.
field() { grep -o "\"$1\":[0-9]*" | head -1 | grep -o '[0-9]*$'; }

flowtap() {
    local capture
    start_flowtap "[packets]\nper_flow = $2"
    capture=$(curl -fsS -H 'Content-Type: application/json' "http://$HTTP/api/capture" \
        -d "{\"GremlinQuery\": \"G.V().Has('Name', 'bench1')\", \"Type\": \"$3\"}" | grep -o '"UUID":"[^"]*"' | head -1 | cut -d'"' -f4)
    until_true "an active capture" sh -c "curl -fsS http://$HTTP/api/capture/$capture | grep -q '\"State\":\"active\"'"
    flood "$1"
    curl -fsS "http://$HTTP/api/capture/$capture" >"$WORK/capture"
    TAKEN=$(field Kept <"$WORK/capture") LOST=$(field kernel <"$WORK/capture")
    finish
}

tcpdump() {
    start tcpdump -i bench1 -Z root -w /dev/null -B 8192
    until_true tcpdump logged 'listening on'
    flood "$1"
    end_tool
    TAKEN=$(awk '/packets captured/ { print $1 }' "$WORK/log") LOST=$(awk '/dropped by kernel/ { print $1 }' "$WORK/log")
}

dumpcap() {
    start dumpcap -i bench1 -q -w /dev/null -B 8
    until_true dumpcap logged 'File: '
    flood "$1"
    end_tool
    local line
    line=$(grep -o 'received/dropped on interface [^ ]* [0-9/]*' "$WORK/log")
    line=${line##* }
    TAKEN=${line%/*} LOST=${line#*/}
}

softflowd() {
    start softflowd -i bench1 -n "$NETFLOW" -v 9 -m 100000 -c "$WORK/softflowd.ctl" -p "$WORK/softflowd.pid" -B 8388608 -d
    until_true softflowd test -S "$WORK/softflowd.ctl"
    flood "$1"
    softflowctl -c "$WORK/softflowd.ctl" statistics >"$WORK/statistics"
    finish
    TAKEN=$(awk '/^Packets processed/ { print $NF }' "$WORK/statistics")
    LOST=$(awk '/dropped by libpcap/ { print $NF }' "$WORK/statistics")
}

nfpcapd() {
    rm -rf "$WORK/nfcapd"
    mkdir "$WORK/nfcapd"
    start nfpcapd -i bench1 -w "$WORK/nfcapd" -b 8
    until_true nfpcapd logged 'Startup nfpcapd'
    sleep 0.3
    flood "$1"
    end_tool
    TAKEN=$(cat "$WORK/log" "$WORK/out" | awk '/^Total: Processed/ { sub(/,.*/, "", $3); print $3 }')
    LOST=$(cat "$WORK/log" "$WORK/out" | grep -o 'OS/Buffer: [0-9]*' | awk '{ print $2 }')
}

# at TOOL RATE: one measurement.
at() {
    case $1 in
        "flowtap") flowtap "$2" 0 afpacket ;;
        "flowtap, 20 kept") flowtap "$2" 20 afpacket ;;
        "flowtap, pcap") flowtap "$2" 0 pcap ;;
        *) "$1" "$2" ;;
    esac
    [[ $TAKEN && $LOST ]] || die "$1 does not tell what it saw: $(tail -3 "$WORK/log")"
    TAKEN=$((TAKEN - KNOWN))
}

OURS=("flowtap" "flowtap, 20 kept" "flowtap, pcap")
PEERS=()
for tool in softflowd nfpcapd tcpdump dumpcap; do type -P "$tool" >/dev/null && PEERS+=("$tool"); done
taskset -c "$FEEDER" "$CAPGEN" sink "$NETFLOW" &
SINK=$!

declare -A BEST NS_OF LOST_AT LIMIT
for tool in "${OURS[@]}" "${PEERS[@]}"; do
    BEST[$tool]=0
    for rate in $RATES; do
        good=''
        # A second try: another program may have had the processor.
        for _ in 1 2; do
            at "$tool" "$rate"
            LOST_AT[$tool]=$(awk -v l="$LOST" -v t="$TAKEN" 'BEGIN { printf "%.2f", 100 * l / (l + t) }')
            ((LOST * 1000 >= LOST + TAKEN)) || { good=1; break; }
        done
        [[ $good ]] || break
        BEST[$tool]=$((SENT / SECONDS_EACH))
        NS_OF[$tool]=$((NS / TAKEN))
        LIMIT[$tool]=''
        # The sender cannot do more.
        ((rate == 0 || SENT * 100 >= rate * SECONDS_EACH * 95)) || { LIMIT[$tool]='>='; break; }
    done
done

printf '\nlive: UDP of 64 bytes, 10,000 flows, %s s each\n' $SECONDS_EACH
printf '%-22s %12s %9s %14s' "" "kpackets/s" "ns/packet" "1/ns, k/s"
((${#PEERS[@]} == 0)) || printf ' %9s' "${PEERS[@]/#/\/}"
echo
for tool in "${OURS[@]}" "${PEERS[@]}"; do
    if ((BEST[$tool] == 0)); then
        printf '%-22s lost %s %% at the lowest rate\n' "$tool" "${LOST_AT[$tool]}"
        continue
    fi
    printf '%-22s %12s %9s %14s' "$tool" "${LIMIT[$tool]}$((BEST[$tool] / 1000))" "${NS_OF[$tool]}" $((1000000 / NS_OF[$tool]))
    for peer in "${PEERS[@]}"; do
        awk -v a="${NS_OF[$tool]}" -v b="${NS_OF[$peer]:-0}" 'BEGIN { if (b) printf " %9.2f", a / b; else printf " %9s", "-" }'
    done
    echo
done
