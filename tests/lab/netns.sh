#!/bin/bash
# Network namespaces of a lab in a directory of their own, so that those alone see them who are told of it:
# in /run/netns each flowtap on this computer would.
#
#   netns.sh TAG dir               make the directory, and print it; before flowtap is started
#   netns.sh TAG add NAME          a namespace nNAME with an interface NAME, whose other end NAME is in TAG-sw
#   netns.sh TAG del NAME          take nNAME away; it goes when nobody uses it any more, and its
#                                  interface, with the other end, goes with it
source "$(dirname "$0")/lib.sh"
enter_running "$@"
what=${2:-} name=${3:-}
directory=$LAB_DIR/netns
[[ $what = dir || $name =~ ^[a-z][a-z0-9]{0,14}$ ]] || usage

case $what in
    dir)
        mkdir "$directory"
        # Shared, for flowtap has mounts of its own: those made here later show there.
        mount --bind "$directory" "$directory"
        mount --make-shared "$directory"
        echo "$directory"
        ;;
    add)
        touch "$directory/n$name"
        unshare --net="$directory/n$name" true
        ip -n "$SWITCH" link add "$name" type veth peer name "$name" netns "$directory/n$name"
        ip -n "$SWITCH" link set "$name" up
        nsenter --net="$directory/n$name" ip link set "$name" up
        ;;
    del)
        umount --lazy "$directory/n$name"
        rm "$directory/n$name"
        ;;
    *) usage ;;
esac
