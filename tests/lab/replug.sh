#!/bin/bash
# Unplug a VM of a lab and plug it in again, in two transactions, as libvirt does when a machine starts whose
# port is still there. Its interface stays.
#
#   replug.sh TAG NAME
source "$(dirname "$0")/lib.sh"
enter_running "$@"
name=${2:-}
[[ $name =~ ^[a-z][a-z0-9]{0,10}$ ]] || usage

vsctl del-port br-int "tap$name"
plug "$name"
