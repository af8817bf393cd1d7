#!/usr/bin/env bash
# Runs a command where one Haswell GPU seems to be: /dev/dri/renderD128 is really NODE, a device that every machine has,
# and sysfs says that it is a DRM device. Needs no privilege but user namespaces.
#
#   with-render-node.sh NODE COMMAND [ARGUMENT]...
#
# NODE: the path of a device; `closed`: one that the command may not open; `hidden`: PCI shows the GPU, but there is no
# render node; `none`: there is no GPU.
set -euo pipefail

if (($# < 2)); then
    echo "usage: $0 NODE COMMAND [ARGUMENT]..." >&2
    exit 2
fi
if ! unshare --user --map-root-user --mount true; then
    echo "This test needs user namespaces (sysctl kernel.unprivileged_userns_clone, user.max_user_namespaces)." >&2
    exit 99
fi

inside='
set -euo pipefail
node=$1 && shift

# What the machine has under /dev and /sys is its own business: a /dev that holds little, and no other GPU.
mkdir -p "$scratch/dev"
mount --rbind /dev "$scratch/dev"
mount -t tmpfs none /dev
for name in null zero random urandom; do
    touch "/dev/$name"
    mount --bind "$scratch/dev/$name" "/dev/$name"
done
mkdir -p /dev/shm /dev/dri/by-path
ln -s /proc/self/fd /dev/fd
for directory in /sys/dev/char /sys/bus/pci/devices; do
    [[ ! -d $directory ]] || mount -t tmpfs none "$directory"
done

gpu=/sys/dev/char/pci/0000:00:02.0
mkdir -p "$gpu/drm" /sys/dev/char/drivers/i915
echo 0x030000 >"$gpu/class"
echo 0x8086 >"$gpu/vendor"
echo 0x041a >"$gpu/device"
ln -s ../../drivers/i915 "$gpu/driver"
[[ $node == none || ! -d /sys/bus/pci/devices ]] || ln -s "$gpu" /sys/bus/pci/devices/

real=$scratch/$node
if [[ $node == closed ]]; then
    mkdir /dev/pts
    mount -t devpts -o newinstance,ptmxmode=0666 none /dev/pts
    exec 9<>/dev/pts/ptmx # gives /dev/pts/0, for as long as it is open
    chmod 000 /dev/pts/0
    real=/dev/pts/0
fi
if [[ $node != hidden && $node != none ]]; then
    number=$((16#$(stat -L -c %t "$real"))):$((16#$(stat -L -c %T "$real")))
    # libdrm of Debian 13 wants a card or render node of the minor number in /dev/dri, whatever it is.
    touch "/dev/dri/card${number#*:}" /dev/dri/renderD128
    mount --bind "$real" /dev/dri/renderD128
    ln -s ../renderD128 /dev/dri/by-path/pci-0000:00:02.0-render
    mkdir "/sys/dev/char/$number"
    ln -s "$gpu" "/sys/dev/char/$number/device"
    echo DEVNAME=dri/renderD128 >"/sys/dev/char/$number/uevent"
fi

# Root of a namespace opens whatever it likes, and a device named tty answers whoever has a terminal.
exec setpriv --inh-caps=-all --bounding-set=-dac_override,-dac_read_search setsid --wait "$@"
'
scratch=$(mktemp -d)
export scratch
# Gone with the namespace: what is left is an empty directory.
trap 'rm -d "$scratch/dev" "$scratch" 2>/dev/null || true' EXIT
unshare --user --map-root-user --mount bash -c "$inside" inside "$@"
