#!/bin/bash
# Get the kernel that qemu-vm.sh boots: that of Debian's cloud images, unpacked from its package and not
# installed, into target/guest. It stays there.
#
#   guest.sh
set -euo pipefail

guest=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)/target/guest
[[ ! -s $guest/vmlinuz ]] || exit 0
die() {
    echo "guest: $*" >&2
    exit 1
}

[[ $(dpkg --print-architecture) = amd64 ]] || die "only x86-64 machines are booted here"
# The package of that name is empty, and depends on that of the newest version.
package=$(apt-cache depends linux-image-cloud-amd64 2>/dev/null | sed -n 's/^ *Depends: \(linux-image-[0-9].*\)/\1/p')
[[ -n $package ]] || die "apt knows no linux-image-cloud-amd64: apt-get update"

mkdir -p "$guest"
work=$(mktemp -d "$guest/unpack.XXXXXX")
trap 'rm -rf "$work"' EXIT
echo "guest: fetching $package, 27 MB" >&2
(cd "$work" && apt-get -qq -o APT::Sandbox::User="$(id -un)" download "$package") || die "$package can't be fetched"
dpkg-deb -x "$work/$package"_*.deb "$work"
# In the order in which they must be loaded.
order=(virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci failover net_failover virtio_net)
mkdir -p "$work/modules"
for number in "${!order[@]}"; do
    # What is missing is built into the kernel.
    find "$work/lib/modules" -name "${order[number]}.ko" -exec cp {} "$work/modules/$number.ko" \;
done
rm -rf "$guest/modules"
mv "$work/modules" "$guest/modules"
mv "$work"/boot/vmlinuz-* "$guest/vmlinuz"
