#!/bin/bash
# Boot a real machine on a lab: Debian's kernel under QEMU, without hardware help, so that it boots
# wherever QEMU runs. Its tap device is plugged into br-int before it is switched on, as Nova does it; then
# it asks for an address (dhcp.sh), pings who gave it, and fetches its metadata (guest-init.sh).
#
#   qemu-vm.sh TAG NAME
#
# Does not wait for any of this: the machine's console is $LAB_DIR/NAME.console. It switches itself off after
# two minutes. Prints the VM's vm-id. Exits with 77, and the reason, where no machine can be booted.
source "$(dirname "$0")/lib.sh"
enter_running "$@"
name=${2:-}
[[ $name =~ ^[a-z][a-z0-9]{0,10}$ ]] || usage

cannot() {
    echo "lab: no machine can be booted: $*" >&2
    exit 77
}
guest=$LAB_HERE/../../target/guest
[[ $(uname -m) = x86_64 ]] || cannot "this is no x86-64"
[[ -e /dev/net/tun ]] || cannot "there is no /dev/net/tun"
command -v qemu-system-x86_64 >/dev/null || cannot "no qemu-system-x86_64: make setup-test"
[[ -s $guest/vmlinuz ]] || cannot "no kernel for it: make setup-test"
need busybox busybox

# Its file system: busybox, with the libraries that it may need, and what to do.
root=$LAB_DIR/$name.root
mkdir -p "$root"/{bin,proc,sys,dev}
busybox=$(command -v busybox)
cp "$busybox" "$root/bin/busybox"
cp "$LAB_HERE/guest-init.sh" "$root/init"
cp -r "$guest/modules" "$root/modules"
{ ldd "$busybox" 2>/dev/null || true; } | grep -o '/[^ ]*' | while read -r library; do
    mkdir -p "$root$(dirname "$library")"
    cp -L "$library" "$root$library"
done
(cd "$root" && find . | busybox cpio -o -H newc) >"$LAB_DIR/$name.initrd"

tap=tap$name
ip -n "$SWITCH" tuntap add dev "$tap" mode tap
no_hosts_manners "$tap"
plug "$name"
ip -n "$SWITCH" link set "$tap" up
# Checksums in software: see boot-vm.sh. No disk, no display, no firmware on the network card.
ip netns exec "$SWITCH" qemu-system-x86_64 -accel tcg -m 128 -nodefaults -no-user-config -display none \
    -no-reboot -daemonize -pidfile "$LAB_DIR/$name.pid" -serial "file:$LAB_DIR/$name.console" \
    -kernel "$guest/vmlinuz" -initrd "$LAB_DIR/$name.initrd" \
    -append "console=ttyS0 quiet panic=-1 mitigations=off random.trust_cpu=on lab_seconds=120" \
    -netdev "tap,id=net,ifname=$tap,script=no,downscript=no,vhost=off" \
    -device "virtio-net-pci,netdev=net,mac=$(vm_mac "$name"),romfile=,csum=off,guest_csum=off,gso=off"
vm_id "$name"
