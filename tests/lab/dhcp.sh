#!/bin/bash
# Start a DHCP server on a lab: 10.77.0.1 in the namespace TAG-dhcp, leases 10.77.0.100 to 199; and beside
# it, as clouds have it, a web server for metadata at 169.254.169.254.
#
#   dhcp.sh TAG
source "$(dirname "$0")/lib.sh"
enter_running "$@"
need dnsmasq dnsmasq-base
need busybox busybox

"$LAB_HERE/boot-vm.sh" "$TAG" dhcp 10.77.0.1 >/dev/null
ip -n "$TAG-dhcp" addr add 169.254.169.254/32 dev eth0
ip netns exec "$TAG-dhcp" dnsmasq --no-resolv --no-hosts --bind-interfaces --interface=eth0 \
    --except-interface=lo --dhcp-range=10.77.0.100,10.77.0.199,255.255.0.0,1h --dhcp-authoritative \
    --no-ping --leasefile-ro --pid-file="$LAB_DIR/dnsmasq.pid" --user=root \
    --log-facility="$LAB_DIR/dnsmasq.log"
mkdir "$LAB_DIR/metadata"
echo "instance-id: lab" >"$LAB_DIR/metadata/index.html"
ip netns exec "$TAG-dhcp" busybox httpd -p 169.254.169.254:80 -h "$LAB_DIR/metadata"
