#!/bin/bash
# Record traffic of real programs for the mix benchmark: DNS, HTTP, TLS, ping, fragments, plain TCP
# and UDP, refused connections, VXLAN, between five namespaces on a real Open vSwitch.
#
#   record-mix.sh FILE.pcap.gz
#
# Needs root, and beside what the lab needs: tcpdump, curl, dnsmasq, openssl, python3.
# lab-mix.pcap.gz was made by it; the benchmark repeats that file, so that numbers of different
# machines and days are about the same packets.
source "$(dirname "$0")/../tests/lab/lib.sh"

[[ $# = 1 && $1 = *.gz ]] || usage
out=$(realpath "$1")
for tool in tcpdump curl dnsmasq openssl python3 gzip; do
    command -v "$tool" >/dev/null || die "no $tool"
done
enter "mix$$"
lab=$LAB_HERE
work=$(mktemp -d)
server=10.77.1.11

cleanup() {
    "$lab/down.sh" "$TAG"
    rm -rf "$work" "/etc/netns/$TAG-"*
    rmdir /etc/netns 2>/dev/null || true
}
trap cleanup EXIT
trap 'exit 130' INT TERM

vm() { ip netns exec "$TAG-$1" "${@:2}"; }

# until_true WHAT COMMAND...: wait at most 10 s.
until_true() {
    local what=$1 tries=200
    shift
    until "$@" >/dev/null 2>&1; do
        ((tries-- > 0)) || die "gave up waiting for $what"
        sleep 0.05
    done
}

"$lab/up.sh" "$TAG"
clients=(vm2 vm3 vm4 vm5)
for i in 3 4 5; do "$lab/boot-vm.sh" "$TAG" "vm$i" "10.77.1.1$i"; done
for client in "${clients[@]}"; do
    mkdir -p "/etc/netns/$TAG-$client"
    echo "nameserver $server" >"/etc/netns/$TAG-$client/resolv.conf"
done
# A tunnel between vm1 and vm2.
for i in 1 2; do
    ip -n "$TAG-vm$i" link add vx0 type vxlan id 42 dstport 4789 local "10.77.1.1$i" remote "10.77.1.1$((3 - i))"
    ip -n "$TAG-vm$i" addr add "10.42.0.$i/24" dev vx0
    ip -n "$TAG-vm$i" link set vx0 up
done

# Pages as the web has them: most are small, few are large.
mkdir "$work/www" "$work/got"
for size in 90 400 700 1200 2500 5000 9000 24000; do
    head -c "$size" /dev/zero | tr '\0' 'x' >"$work/www/$size"
done
openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=lab -keyout "$work/key" -out "$work/cert" 2>/dev/null
{
    vm vm1 dnsmasq -k -C /dev/null --no-resolv --no-hosts --user=root --pid-file= \
        --address=/lab.test/$server &
    (cd "$work/www" && vm vm1 python3 -m http.server 8080 &)
    (cd "$work/www" && vm vm1 openssl s_server -quiet -WWW -port 8443 -key "$work/key" -cert "$work/cert" &)
    vm vm1 nc -u -l -k 5001 &
} </dev/null >/dev/null 2>&1

ip netns exec "$SWITCH" tcpdump -Z root --immediate-mode -U -n -B 8192 -i tapvm1 -w "$work/mix.pcap" 2>"$work/dump" &
dump=$!
until_true tcpdump grep -q 'listening on' "$work/dump"
for client in "${clients[@]}"; do
    until_true "HTTP" vm "$client" curl -fs "http://$server:8080/90"
    until_true "TLS" vm "$client" curl -fsk "https://$server:8443/90"
    until_true "DNS" vm "$client" getent ahostsv4 www.lab.test
done

# As a browser does it: a name is looked up, then several things are fetched over one connection.
browse() {
    local client=$1 size=$2 i
    for i in {1..8}; do
        vm "$client" curl -fs --output-dir "$work/got" --remote-name-all \
            "http://www$i.lab.test:8080/"{90,400,1200,"$size"}
        vm "$client" curl -fsk --output-dir "$work/got" --remote-name-all \
            "https://api$i.lab.test:8443/"{700,"$size"}
    done
    for i in 1 2 3; do vm "$client" nc -z -w 1 "$server" "$((6000 + i))" || true; done
    vm "$client" ping -q -n -c 12 -i 0.02 "$server"
    vm "$client" ping -q -n -c 3 -i 0.02 -s 4000 "$server"
    vm "$client" bash -c "for i in {1..60}; do echo \"metric.\$i 42\"; sleep 0.01; done >/dev/udp/$server/5001"
} >/dev/null
browse vm2 400 & browse vm3 2500 & browse vm4 9000 & browse vm5 24000 &
# The servers of above run on: wait for the four only.
for job in %?vm2 %?vm3 %?vm4 %?vm5; do wait "$job" || die "a client failed"; done
vm vm2 ping -q -n -c 10 -i 0.02 10.42.0.1 >/dev/null
for page in 90 400 700 2500 24000; do vm vm2 curl -fs -o /dev/null "http://10.42.0.1:8080/$page"; done
vm vm2 curl -fs -o /dev/null "http://$server:8080/24000"

kill -INT "$dump"
wait "$dump" || true
gzip -9n <"$work/mix.pcap" >"$out"
echo "$(tail -3 "$work/dump" | head -1), $(stat -c %s "$out") bytes compressed"
