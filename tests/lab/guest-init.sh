#!/bin/busybox sh
# shellcheck shell=dash
# What a machine of qemu-vm.sh does, as its first and only process: it asks for an address, and does with it
# what cloud images do. Its kernel's command line says how long it lives: lab_seconds=N.
# shellcheck disable=SC2154  # udhcpc says them in the environment
export PATH=/bin

case ${1:-} in
    # Called by udhcpc.
    bound | renew)
        ip addr replace "$ip/$mask" dev "$interface"
        ip route replace default via "${router%% *}"
        echo "$ip" >/address
        exit
        ;;
    deconfig | leasefail | nak) exit ;;
esac

/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t devtmpfs dev /dev
mount -t sysfs sys /sys
for module in /modules/*; do insmod "$module"; done
ip link set lo up
ip link set eth0 up
udhcpc -q -i eth0 -s /init -t 30 -T 1 -A 1
echo "address: $(cat /address)"
ping -c 3 "$(ip route | sed -n 's/^default via \([0-9.]*\).*/\1/p')"
echo "metadata: $(wget -q -O - http://169.254.169.254/)"
seconds=$(sed -n 's/.*lab_seconds=\([0-9]*\).*/\1/p' /proc/cmdline)
sleep "${seconds:-120}"
poweroff -f
