#!/bin/bash
# Install the Debian packages that a job needs and this machine lacks.
#
#   setup.sh build|lint|lab|test|bench...
set -euo pipefail

declare -A GROUPS_OF=(
    [build]="gcc libc6-dev libpcap-dev"
    [lint]="shellcheck"
    [lab]="openvswitch-switch iproute2 iputils-ping ethtool netcat-openbsd tcpdump curl dnsmasq-base busybox"
    [test]="prometheus python3-venv sqlite3 wireshark-common qemu-system-x86"
    [bench]="nfdump nfdump-sflow softflowd tshark"
)

missing=()
for group in "$@"; do
    for package in ${GROUPS_OF[$group]:?no such group: $group}; do
        status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
        [[ $status = installed ]] || missing+=("$package")
    done
done
if [[ " $* " = *" build "* ]] && ! command -v cargo >/dev/null; then
    echo "setup: no cargo: install Rust 1.89 or later from https://rustup.rs" >&2
    exit 1
fi
if ((${#missing[@]})); then
    sudo=()
    [[ $(id -u) = 0 ]] || sudo=(sudo)
    echo "setup: installing ${missing[*]}" >&2
    export DEBIAN_FRONTEND=noninteractive
    "${sudo[@]}" apt-get update -qq
    "${sudo[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" </dev/null >/dev/null
fi
if [[ " $* " = *" test "* ]]; then
    # Everything else can be tested without it.
    "$(dirname "$0")/../tests/lab/guest.sh" || echo "setup: tests that boot a machine are skipped" >&2
fi
