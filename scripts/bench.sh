#!/bin/bash
# Measure flowtap, and beside it, on the same packets in the same run, the tools that people use now.
#
#   bench.sh [decode|files|samples|graph|live...]      all of them unless said
#
#   decode    packets a second through decoding and the flow table, in this process
#   files     whole capture files, records stored: beside softflowd, nfpcapd, tshark
#   samples   sFlow over UDP: beside sfcapd
#   graph     a topology of 10,000 interfaces: changes, queries, memory
#   live      packets of a veth pair: beside softflowd, nfpcapd, tcpdump, dumpcap; needs root
#
# Environment: RUNS (3) measurements of each, of which the median is shown; packets in each file: MIX
# (3000000), SMALL (5000000), CHURN (4000000); SFLOW (200000) datagrams at RATE (40000) a second; CPU
# and FEEDER, the processors for what is measured (the last one) and for what sends (0); RATES, packets a
# second to try live, upwards (100000 ... 1500000, 0 for as fast as it goes).
# How to read it: benches/README.md.
set -euo pipefail
cd "$(dirname "$0")/.."

parts=("$@")
((${#parts[@]})) || parts=(decode files samples graph live)
for part in "${parts[@]}"; do
    [[ $part =~ ^(decode|files|samples|graph|live)$ ]] || { sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0" >&2; exit 2; }
done

export RUNS=${RUNS:-3} RATE=${RATE:-40000} CPU=${CPU:-$(($(nproc) - 1))} FEEDER=${FEEDER:-0}
mix=${MIX:-3000000} small=${SMALL:-5000000} churn=${CHURN:-4000000} sflow=${SFLOW:-200000}
export FLOWTAP=$PWD/target/release/flowtap CAPGEN=$PWD/target/release/examples/capgen
export FLOOD=$PWD/target/release/examples/flood DATA=$PWD/target/bench-data
export RATES=${RATES:-100000 200000 300000 400000 500000 600000 700000 800000 900000 1000000 1200000 1500000 0}

cargo build --quiet --locked --release
cargo build --quiet --locked --release -p flowtap-flow --example capgen
cargo build --quiet --locked --release -p flowtap-collectors --example flood
mkdir -p "$DATA"

# made NAME COUNT ARGUMENT...: let capgen make NAME.pcap, unless it is there and so long.
made() {
    local name=$1 count=$2 have=0
    shift 2
    [[ ! -f $DATA/$name.count ]] || read -r have _ <"$DATA/$name.count"
    [[ $have != "$count" || $CAPGEN -nt $DATA/$name.count ]] || return 0
    rm -f "$DATA/$name.count"
    "$CAPGEN" "$name" "$DATA/$name.pcap" "$count" "$@" >"$DATA/$name.new"
    mv "$DATA/$name.new" "$DATA/$name.count"
}
made mix "$mix" benches/lab-mix.pcap.gz
made small "$small" 100000
made churn "$churn"
made sflow "$sflow" 100000

missing=()
declare -A PACKAGE_OF=([softflowd]=softflowd [nfpcapd]=nfdump [tshark]=tshark [sfcapd]=nfdump-sflow [tcpdump]=tcpdump [dumpcap]=wireshark-common)
for tool in softflowd nfpcapd tshark sfcapd tcpdump dumpcap; do
    command -v "$tool" >/dev/null || PATH=$PATH:/usr/sbin command -v "$tool" >/dev/null || missing+=("${PACKAGE_OF[$tool]}")
done
((${#missing[@]} == 0)) || echo "not installed, so not compared: apt-get install ${missing[*]}"
echo "$(nproc) processors, load $(cut -d' ' -f1 /proc/loadavg), $(uname -sr); median of $RUNS; compare within a table only"

for part in "${parts[@]}"; do
    case $part in
        decode)
            echo
            printf '%-60s %9s %9s\n' "" "ns/packet" "M/s"
            taskset -c "$CPU" cargo bench --quiet --locked -p flowtap-flow --bench decode --bench table -- \
                --warm-up-time 1 --measurement-time 2 --noplot 2>/dev/null |
                awk '# A long name has a line of its own; what changed since the last run is not shown.
                     /^[^ ]/ { name = $0; sub(/ *time:.*/, "", name) }
                     /change:/ { name = "" }
                     name && /thrpt:/ { rate = $4 * ($5 ~ /^K/ ? 0.001 : 1)
                                        printf "%-60s %9.0f %9.2f\n", name, 1000 / rate, rate }'
            ;;
        graph)
            echo
            taskset -c "$CPU" cargo bench --quiet --locked -p flowtap-topology --bench graph 2>/dev/null
            taskset -c "$CPU" cargo bench --quiet --locked -p flowtap-gremlin --bench graph -- \
                --warm-up-time 1 --measurement-time 2 --noplot 2>/dev/null |
                awk '/^[^ ]/ { name = $0; sub(/ *time:.*/, "", name) }
                     /time:/ { gsub(/[][]/, ""); for (i = 1; i <= NF; i++) if ($i == "time:") printf "%9s %s  %s\n", $(i + 3), $(i + 4), name }'
            ;;
        *) WORK=$(mktemp -d -p "$DATA") "benches/$part.sh" ;;
    esac
done
