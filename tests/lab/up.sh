#!/bin/bash
# Bring up a lab with two VMs: vm1 10.77.1.11 and vm2 10.77.1.12.
#
#   up.sh TAG [bare]
#
#   TAG    a-z 0-9, at most 12 characters
#   bare   without the VMs
#
# Run a collector where the switch's host would: ip netns exec TAG-sw COMMAND.
# The lab belongs to the process that called: what a killed one left behind goes first.
source "$(dirname "$0")/lib.sh"
enter "$@"
[[ ${2:-} =~ ^(bare)?$ ]] || usage

# One at a time: two that take the same lab down pull its parts from under each other.
mkdir -p "$LAB_ROOT"
exec {turn}>"$LAB_ROOT/lock"
flock "$turn"
for left in "$LAB_ROOT"/*/owner; do
    [[ -f $left ]] || continue
    running "$(<"$left")" || "$LAB_HERE/down.sh" "$(basename "$(dirname "$left")")"
done
exec {turn}>&-
[[ ! -e $LAB_DIR ]] || die "lab $TAG is up already: down.sh $TAG"

mkdir -p "$LAB_DIR"
# In one step: a lab whose owner's name is not written yet looks to others as one that was left behind.
echo "$PPID" >"$LAB_DIR/owner.new"
mv "$LAB_DIR/owner.new" "$LAB_DIR/owner"
trap '"$LAB_HERE/down.sh" "$TAG"' EXIT

ip netns add "$SWITCH"
ip -n "$SWITCH" link set lo up
ovsdb-tool create "$LAB_DIR/conf.db" /usr/share/openvswitch/vswitch.ovsschema
daemon() {
    local name=$1
    shift
    ip netns exec "$SWITCH" "$name" "$@" -vconsole:off --log-file="$LAB_DIR/$name.log" \
        --unixctl="$LAB_DIR/$name.ctl" --pidfile="$LAB_DIR/$name.pid" --no-chdir --detach
}
daemon ovsdb-server "$LAB_DIR/conf.db" --remote="punix:$LAB_DIR/db.sock"
vsctl --no-wait init
daemon ovs-vswitchd "unix:$LAB_DIR/db.sock"
vsctl add-br br-int -- set bridge br-int datapath_type=netdev
ip -n "$SWITCH" link set br-int up

if [[ ${2:-} != bare ]]; then
    "$LAB_HERE/boot-vm.sh" "$TAG" vm1 10.77.1.11 >/dev/null
    "$LAB_HERE/boot-vm.sh" "$TAG" vm2 10.77.1.12 >/dev/null
fi
trap - EXIT
