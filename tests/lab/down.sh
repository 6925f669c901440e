#!/bin/bash
# Take a lab down, with everything that runs in its namespaces. Safe when it is half up, or not at all.
#
#   down.sh TAG
source "$(dirname "$0")/lib.sh"
enter "$@"

# The switch first: it then takes its own interfaces away. A pid counts only while it is that program.
for name in ovs-vswitchd ovsdb-server; do
    pid=$(cat "$LAB_DIR/$name.pid" 2>/dev/null) || continue
    [[ $(cat "/proc/$pid/comm" 2>/dev/null) != "$name" ]] || stop "$pid"
done
for path in /run/netns/"$TAG"-*; do
    [[ -e $path ]] || continue
    namespace=$(basename "$path")
    for pid in $(ip netns pids "$namespace"); do stop "$pid"; done
    ip netns del "$namespace"
done
# Namespaces of netns.sh, and their directory.
if [[ -d $LAB_DIR/netns ]]; then
    umount --recursive --lazy "$LAB_DIR/netns" 2>/dev/null || true
fi
# $LAB_ROOT stays: another lab may be about to be made in it.
rm -rf "$LAB_DIR"
