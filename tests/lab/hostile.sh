#!/bin/bash
# Boot a "VM" on a lab that sends from the first instant: frames that count from 0, as fast as it can, for a
# fifth of a second. Its row in OVSDB and its interface are made at the same moment.
#
#   hostile.sh TAG NAME
#
# Prints how many frames it sent.
source "$(dirname "$0")/lib.sh"
enter_running "$@"
need python3 python3
name=${2:-}
[[ $name =~ ^[a-z][a-z0-9]{0,10}$ ]] || usage
vm=$TAG-$name tap=tap$name

ip netns add "$vm"
# EtherType 0x88b5 is for experiments (IEEE 802); nobody answers.
ip netns exec "$vm" python3 -c '
import socket, time
frame = bytes.fromhex("ffffffffffff" "02000000ab01" "88b5") + b"frame %06d" + bytes(40)
sock, sent, until = socket.socket(socket.AF_PACKET, socket.SOCK_RAW), 0, None
while until is None or time.monotonic() < until:
    try:
        if until is None:
            sock.bind(("eth0", 0))
        sock.send(frame.replace(b"%06d", b"%06d" % sent))
        sent += 1
        until = until or time.monotonic() + 0.2
    except OSError:
        pass
print(sent)
' >"$LAB_DIR/hostile-$name" &
sender=$!
vsctl --no-wait add-port br-int "$tap" -- set interface "$tap" external_ids:vm-id="$(vm_id "$name")" &
ip -n "$SWITCH" link add "$tap" up type veth peer name eth0 netns "$vm"
ip -n "$vm" link set eth0 up
wait "$sender"
cat "$LAB_DIR/hostile-$name"
wait
