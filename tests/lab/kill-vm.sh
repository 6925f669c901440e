#!/bin/bash
# Power a VM of a lab off: its port is unplugged, its processes end, its interface goes.
#
#   kill-vm.sh TAG NAME [crash]
#
#   crash   the interface goes and its row in OVSDB stays, as when a hypervisor dies
source "$(dirname "$0")/lib.sh"
enter_running "$@"
name=${2:-} how=${3:-}
[[ $name =~ ^[a-z][a-z0-9]{0,10}$ && $how =~ ^(crash)?$ ]] || usage

[[ $how = crash ]] || vsctl --if-exists del-port br-int "tap$name"
if [[ -f $LAB_DIR/$name.pid ]]; then
    # A machine of qemu-vm.sh; its interface is gone with it, or with the next line.
    stop "$(<"$LAB_DIR/$name.pid")"
    rm -rf "$LAB_DIR/$name".{pid,initrd,root}
else
    for pid in $(ip netns pids "$TAG-$name"); do stop "$pid"; done
    ip netns del "$TAG-$name"
fi
ip -n "$SWITCH" link del "tap$name" 2>/dev/null || true
