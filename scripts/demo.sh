#!/bin/bash
# Show flowtap at work on a real Open vSwitch, in network namespaces that are gone afterwards.
#
#   demo.sh FLOWTAP      FLOWTAP: the binary
set -euo pipefail
[[ $# = 1 && -x $1 ]] || { echo "usage: demo.sh FLOWTAP" >&2; exit 2; }
[[ $(id -u) = 0 ]] || { echo "demo: network namespaces need root: run it with sudo" >&2; exit 1; }

here=$(cd "$(dirname "$0")/.." && pwd)
lab=$here/tests/lab
tag=demo$$
host=$tag-sw                # the namespace of the switch, where flowtap runs as on a real host
work=$(mktemp -d)
server=''
PATH=$(cd "$(dirname "$1")" && pwd):$PATH
cd "$here"

cleanup() {
    [[ -z $server ]] || { kill "$server" 2>/dev/null && wait "$server"; } || true
    "$lab/down.sh" "$tag"
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

say() { printf '\n\033[1m== %s\033[0m\n' "$*"; }

# show COMMAND: print a shell command, then run it on the lab's host.
show() {
    printf '\n\033[36m$ %s\033[0m\n' "$1"
    ip netns exec "$host" bash -o pipefail -c "$1"
}

# until_true WHAT COMMAND...: wait at most 15 s.
until_true() {
    local what=$1 tries=150
    shift
    until ip netns exec "$host" "$@" >/dev/null 2>&1; do
        ((tries-- > 0)) || { echo "demo: gave up waiting for $what; log:" >&2; cat "$work/log" >&2; exit 1; }
        sleep 0.1
    done
}

say "a switch with two virtual machines, 10.77.1.11 and 10.77.1.12, and flowtap on its host"
"$lab/up.sh" "$tag"
ovsdb=unix:/run/flowtap-lab/$tag/db.sock
printf '\n\033[36m$ flowtap up --ovsdb %s &\033[0m\n' "$ovsdb"
ip netns exec "$host" flowtap up --ovsdb "$ovsdb" --data-dir "$work/data" 2>"$work/log" &
server=$!
until_true "flowtap up" curl -fsS http://127.0.0.1:8082/readyz

say "sFlow: the switch samples, the machines ping and talk TCP and UDP"
"$lab/sflow.sh" "$tag" on
"$lab/traffic.sh" "$tag" icmp 5
"$lab/traffic.sh" "$tag" tcp 64
"$lab/traffic.sh" "$tag" udp 8
# Open vSwitch sends what it sampled within a second.
until_true "the TCP flow" flowtap flows --filter "Has('Transport', 5000)" --fail-empty
until_true "the UDP flow" flowtap flows --filter "Has('Transport', 5001)" --fail-empty
show "flowtap flows"

say "a capture over TCP: a virtual machine that asked for an address"
show "nc -N 127.0.0.1 8100 < fixtures/ovs-sflow-dhcp.truth.pcap"
until_true "DHCP" flowtap flows --app DHCPv4 --fail-empty
show "flowtap flows --app DHCPv4"

say "the same questions with curl, as Skydive's clients ask them"
show "curl -s http://127.0.0.1:8082/api/topology -d '{\"GremlinQuery\": \"G.Flows().Has('\\''Application'\\'', '\\''ICMPv4'\\'').Limit(1)\"}'; echo"
say "with our own path, by filter and time"
show "curl -s 'http://127.0.0.1:8082/api/v1/flows?app=TCP&from=-5m&format=csv'"

say "and on the command line, packets included, for tcpdump to read"
show "flowtap client capture list | grep -E '\"(Type|State|Received|Kept)\"'"
show "flowtap client query \"G.Flows().Has('Transport.B', 5000).RawPackets()\" --format pcap | tcpdump -nqt -c 6 -r - 2>/dev/null"
show "flowtap client query \"G.Flows().Has('Application', 'DHCPv4').RawPackets()\" --format pcap | tcpdump -nt -r - 2>/dev/null"

say "what is there: interfaces, namespaces, the switch"
until_true "the switch's ports" flowtap topology "G.V().Has('Type', 'ovsport', 'Name', 'tapvm2')"
show "flowtap topology | head -11 | cut -c 1-150"

say "a capture for a machine that is not there yet"
"$lab/dhcp.sh" "$tag"
show "flowtap capture create --name next-vm --gremlin \"G.V().HasKey('ExtID.vm-id').Has('Name', 'tapvm3')\" >/dev/null"
show "flowtap capture explain \"G.V().HasKey('ExtID.vm-id').Has('Name', 'tapvm3')\" | grep Summary"
say "it boots"
"$lab/boot-vm.sh" "$tag" vm3 dhcp >/dev/null
lease="G.V().Has('Name', 'tapvm3').Flows().Has('Application', 'DHCPv4')"
until_true "the lease" bash -c "[[ \$(flowtap query \"$lease.Count()\") -ge 2 ]]"
show "timeout 1 flowtap capture watch next-vm || true"
show "flowtap client query \"G.V().Has('Name', 'tapvm3').Flows().RawPackets()\" --format pcap | tcpdump -nqt -c 8 -r - 2>/dev/null"

say "done: stopping flowtap and taking the lab down"
