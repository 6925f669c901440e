#!/bin/bash
# Make traffic of known kind and number from vm1 to vm2.
#
#   traffic.sh TAG icmp|tcp|udp [COUNT]      COUNT, 5 unless said:
#
#   icmp   COUNT echo requests, as many replies
#   udp    one flow of COUNT datagrams to port 5001
#   tcp    one connection to port 5000 that carries COUNT KiB
source "$(dirname "$0")/lib.sh"
enter_running "$@"
kind=${2:-} count=${3:-5}
[[ $count =~ ^[1-9][0-9]*$ ]] || usage
to=$(vm_address vm2)

# serve NC-OPTION...: a listener in vm2, ready when this returns, gone when the script ends.
serve() {
    ip netns exec "$TAG-vm2" nc "$@" </dev/null >/dev/null &
    local server=$! tries=250
    # shellcheck disable=SC2064  # the pid of now
    trap "kill $server 2>/dev/null || true" EXIT
    until ip netns exec "$TAG-vm2" ss -Hlntu | grep -q ":500[01] "; do
        ((tries-- > 0)) || die "no server in vm2"
        sleep 0.02
    done
}

case $kind in
    icmp) ip netns exec "$TAG-vm1" ping -q -n -c "$count" -i 0.05 -W 2 "$to" >/dev/null ;;
    udp)
        serve -u -l -k 5001
        # One redirection, one socket: one flow.
        ip netns exec "$TAG-vm1" bash -c "for ((i = 1; i <= $count; i++)); do echo \"datagram \$i\"; done >/dev/udp/$to/5001"
        ;;
    tcp)
        serve -l -N 5000
        head -c $((count * 1024)) /dev/zero | ip netns exec "$TAG-vm1" nc -N -w 5 "$to" 5000 >/dev/null
        ;;
    *) usage ;;
esac
