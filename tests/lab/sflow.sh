#!/bin/bash
# Switch sFlow on or off on a lab's br-int, as operators do it with ovs-vsctl.
#
#   sflow.sh TAG on [ADDRESS:PORT] [SAMPLING]      default 127.0.0.1:6343 in TAG-sw, every packet
#   sflow.sh TAG off
#
# Start the collector first: while nothing listens, the switch loses every second datagram. A sample
# waits in the switch for up to a second.
source "$(dirname "$0")/lib.sh"
enter_running "$@"

case ${2:-} in
    on)
        # shellcheck disable=SC1083  # @sflow names a row made in this transaction
        vsctl -- --id=@sflow create sflow agent=lo target="\"${3:-127.0.0.1:6343}\"" header=128 \
            sampling="${4:-1}" polling=1 -- set bridge br-int sflow=@sflow >/dev/null
        ;;
    off) vsctl clear bridge br-int sflow ;;
    *) usage ;;
esac
