#!/bin/bash
# Boot a "VM" on a lab: its interface appears, is plugged into br-int with OpenStack's external_ids,
# and comes up.
#
#   boot-vm.sh TAG NAME ADDRESS|dhcp [link|row]
#
#   NAME      a-z 0-9, at most 11 characters
#   ADDRESS   in 10.77.0.0/16; with dhcp the VM asks for one (dhcp.sh) and does not wait for it
#   link      the interface first, then the row in OVSDB, as Nova does it (what is done unless said)
#   row       the row first, then the interface
#
# Prints the VM's vm-id.
source "$(dirname "$0")/lib.sh"
enter_running "$@"
name=${2:-} address=${3:-} order=${4:-link}
[[ $name =~ ^[a-z][a-z0-9]{0,10}$ && $address =~ ^(10\.77\.[0-9]+\.[0-9]+|dhcp)$ && $order =~ ^(link|row)$ ]] || usage
[[ $address != dhcp ]] || need busybox busybox

vm=$TAG-$name tap=tap$name

add_interface() {
    ip -n "$SWITCH" link add "$tap" type veth peer name eth0 address "$(vm_mac "$name")" netns "$vm"
    no_hosts_manners "$tap"
    # The userspace datapath never fills in checksums that an interface leaves to the hardware: with
    # offload on, ping works and every TCP segment is dropped by its receiver.
    ip netns exec "$vm" ethtool -K eth0 tx off tso off gso off >/dev/null
}

ip netns add "$vm"
if [[ $order = link ]]; then
    add_interface
    plug "$name"
else
    # It says that there is no such device yet, and heals when there is one.
    plug "$name" 2>/dev/null || true
    add_interface
fi
ip -n "$SWITCH" link set "$tap" up
ip -n "$vm" link set lo up
if [[ $address = dhcp ]]; then
    ip -n "$vm" link set eth0 up
    ip netns exec "$vm" busybox udhcpc -f -i eth0 -s "$LAB_HERE/udhcpc.sh" -t 30 -T 1 -A 1 \
        </dev/null >"$LAB_DIR/udhcpc-$name.log" 2>&1 &
else
    ip -n "$vm" addr add "$address/16" dev eth0
    ip -n "$vm" link set eth0 up
fi
vm_id "$name"
