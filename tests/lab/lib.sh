# shellcheck shell=bash
# shellcheck disable=SC2034  # names for the scripts that source this
# What the lab scripts share; sourced, never run.
#
# A lab is a real Open vSwitch (userspace datapath: no kernel module needed) in a network namespace
# of its own, and "VMs": namespaces with one interface on br-int, labelled as OpenStack labels them.
# Everything of a lab carries its TAG: namespaces TAG-sw and TAG-<vm>, and files in $LAB_DIR. So labs
# live side by side, and the machine's own namespace, addresses and Open vSwitch are never touched.

set -Eeuo pipefail
# Whoever reads a test's output wants to know which of the commands it was.
trap 'echo "lab: $0 failed at line $LINENO with status $?: $BASH_COMMAND" >&2' ERR
PATH=$PATH:/usr/sbin:/sbin

LAB_HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
LAB_ROOT=/run/flowtap-lab
LAB_PACKAGES="openvswitch-switch iproute2 iputils-ping ethtool netcat-openbsd"

die() {
    echo "lab: $*" >&2
    exit 1
}

usage() {
    sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0" >&2
    exit 2
}

# enter TAG: check what every script needs, and derive the lab's names from its tag.
enter() {
    [[ ${1:-} =~ ^[a-z][a-z0-9]{0,11}$ ]] || usage
    [[ $(id -u) = 0 ]] || die "network namespaces need root: run it with sudo"
    local tool
    for tool in ovs-vsctl ovs-vswitchd ip ping ethtool nc; do
        command -v "$tool" >/dev/null || die "no $tool: apt-get install -y --no-install-recommends $LAB_PACKAGES"
    done
    TAG=$1
    LAB_DIR=$LAB_ROOT/$TAG
    SWITCH=$TAG-sw
    export OVS_RUNDIR=$LAB_DIR OVS_LOGDIR=$LAB_DIR OVS_DBDIR=$LAB_DIR
}

# enter_running TAG: the same, for a lab that must be up.
enter_running() {
    enter "$@"
    [[ -d $LAB_DIR ]] || die "no lab $TAG is up: run up.sh $TAG"
}

vsctl() { ovs-vsctl --timeout=10 --db="unix:$LAB_DIR/db.sock" "$@"; }

# running PID: it runs; a zombie that waits for its parent does not.
running() { [[ $(sed 's/.*) //; s/ .*//' "/proc/$1/stat" 2>/dev/null || echo Z) != Z ]]; }

# stop PID: TERM, and KILL after three seconds.
stop() {
    local tries=150
    kill "$1" 2>/dev/null || return 0
    while running "$1" && ((tries-- > 0)); do sleep 0.02; done
    kill -9 "$1" 2>/dev/null || true
}

# need PROGRAM PACKAGE: stop if it is not there.
need() { command -v "$1" >/dev/null || die "no $1: apt-get install -y --no-install-recommends $2"; }

# vm_id NAME: a VM's UUID, the same each time.
vm_id() {
    local hash
    hash=$(printf %s "$1" | md5sum)
    echo "${hash:0:8}-${hash:8:4}-4${hash:13:3}-8${hash:17:3}-${hash:20:12}"
}

# vm_address NAME: the IPv4 address of a VM.
vm_address() {
    ip -n "$TAG-$1" -o -4 addr show dev eth0 2>/dev/null | sed -n 's|.* inet \([0-9.]*\)/.*|\1|p'
}

# vm_mac NAME: a VM's MAC address, the same each time.
vm_mac() {
    local hash
    hash=$(printf %s "$1" | md5sum)
    echo "fa:16:3e:${hash:0:2}:${hash:2:2}:${hash:4:2}"
}

# plug NAME: make the VM's interface a port of br-int, labelled as OpenStack labels it: the port of a DHCP
# server is nobody's machine.
plug() {
    local machine=("external_ids:vm-id=$(vm_id "$1")")
    [[ $1 != dhcp ]] || machine=()
    vsctl add-port br-int "tap$1" -- set interface "tap$1" "${machine[@]}" \
        external_ids:iface-id="$(vm_id "$1")" external_ids:attached-mac="\"$(vm_mac "$1")\"" \
        external_ids:iface-status=active
}

# no_hosts_manners INTERFACE: the switch's end is a port, not a host: no neighbour discovery of its own.
no_hosts_manners() { ip netns exec "$SWITCH" sh -c "echo 1 >/proc/sys/net/ipv6/conf/$1/disable_ipv6"; }
