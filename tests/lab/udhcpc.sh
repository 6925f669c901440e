#!/bin/sh
# What a lab's DHCP client does with its lease. Debian's own script would rewrite the resolv.conf of
# the machine, from inside a namespace as well.
# shellcheck disable=SC2154  # the client says them in the environment
case $1 in
    bound | renew) ip addr replace "$ip/$mask" dev "$interface" ;;
    deconfig) ip -4 addr flush dev "$interface" ;;
esac
