#!/usr/bin/env bash
# Runs a command as on a machine with an Intel GPU: its own /dev/dri and sysfs entries, and the driver of tests/softva.
#
#   with-softva.sh PERSONALITY CONTROL_FILE COMMAND [ARGUMENT...]
#
# PERSONALITY   haswell | skylake-free | alderlake
# CONTROL_FILE  the file of tests/softva/src/control.rs, made by the test; "-" for none
# SOFTVA_DIR    folder of libsoftva_drv_video.so; else the newest below $CARGO_TARGET_DIR or target/
# SOFTVA_GPUS   2 for two GPUs; else there is one
# SOFTVA_GROUP  number of a group to own the nodes, which then have mode 0660 (needs root)
#
# It needs no device and no kernel module: libva asks of a render node only that it is a character device with a folder
# device/drm in sysfs. The nodes are bind mounts of /dev/null and /dev/zero in a mount namespace of the command's own.
set -euo pipefail

fail() { echo "with-softva.sh: $*" >&2 && exit 125; }
(($# >= 3)) || fail "usage: with-softva.sh PERSONALITY CONTROL_FILE COMMAND [ARGUMENT...]"

if [[ ${SOFTVA_STAGE-} != inside ]]; then
    as_who=(--mount)
    ((EUID == 0)) || as_who=(--map-root-user --mount)
    refusal=$(unshare "${as_who[@]}" true 2>&1) ||
        fail "this needs a mount namespace and the system refuses it: $refusal. In a container allow user namespaces," \
            "e.g. docker run --security-opt seccomp=unconfined --security-opt apparmor=unconfined --cap-add SYS_ADMIN."
    SOFTVA_STAGE=inside exec unshare "${as_who[@]}" -- "$0" "$@"
fi
unset SOFTVA_STAGE

personality=$1 control=$2
shift 2

# PCI id and kernel driver are what lspci and udevadm would say of such a machine.
case $personality in
    haswell) device=0x041a driver=i915 ;;
    skylake-free) device=0x1912 driver=i915 ;;
    alderlake) device=0x46d1 driver=i915 ;;
    *) fail "no personality '$personality': take haswell, skylake-free or alderlake" ;;
esac

here=$(cd "$(dirname "$0")/../.." && pwd)
if [[ -z ${SOFTVA_DIR-} ]]; then
    target=${CARGO_TARGET_DIR:-$here/target}
    newest=$(find "$target" -maxdepth 3 -name libsoftva_drv_video.so -printf '%T@ %h\n' 2>/dev/null | sort -rn | head -n 1) || true
    [[ -n $newest ]] || fail "no libsoftva_drv_video.so below $target: run cargo build -p softva"
    SOFTVA_DIR=${newest#* }
fi
[[ -e $SOFTVA_DIR/libsoftva_drv_video.so ]] || fail "no libsoftva_drv_video.so in $SOFTVA_DIR"

# A new /dev with the usual nodes of the old one, for /dev may be shared with the world outside.
old_dev=$(mktemp -d)
mount --rbind /dev "$old_dev"
mount -t tmpfs -o mode=755 softva-dev /dev
for node in null zero full random urandom tty; do
    touch "/dev/$node"
    mount --bind "$old_dev/$node" "/dev/$node"
done
for folder in shm pts mqueue; do
    [[ -d $old_dev/$folder ]] || continue
    mkdir "/dev/$folder"
    mount --rbind "$old_dev/$folder" "/dev/$folder"
done
ln -s /proc/self/fd /dev/fd
ln -s fd/0 /dev/stdin
ln -s fd/1 /dev/stdout
ln -s fd/2 /dev/stderr
mkdir -p /dev/dri/by-path

mount -t tmpfs -o mode=755 softva-sys /sys/dev/char
mkdir -p "/sys/dev/char/bus/pci/drivers/$driver"

# PCI address; what is added below belongs to the GPU added last
add_gpu() {
    pci=$1
    gpu=devices/pci0000:00/$pci
    mkdir -p "/sys/dev/char/$gpu/drm"
    cd "/sys/dev/char/$gpu"
    echo 0x8086 >vendor
    echo "$device" >device
    echo 0x030000 >class
    echo 0x06 >revision
    printf 'DRIVER=%s\nPCI_CLASS=30000\nPCI_ID=8086:%s\nPCI_SLOT_NAME=%s\n' "$driver" "${device#0x}" "$pci" >uevent
    ln -s "../../../bus/pci/drivers/$driver" driver
}

# name, kind of by-path link, and the device that stands in for it
add_node() {
    touch "/dev/dri/$1"
    if [[ -n ${SOFTVA_GROUP-} ]]; then
        rm "/dev/dri/$1"
        cp --archive "$old_dev/$3" "/dev/dri/$1"
        chown "0:$SOFTVA_GROUP" "/dev/dri/$1"
        chmod 0660 "/dev/dri/$1"
    else
        mount --bind "$old_dev/$3" "/dev/dri/$1"
    fi
    ln -s "../$1" "/dev/dri/by-path/pci-$pci-$2"
    local number
    number=$(stat --format='%Hr:%Lr' "$old_dev/$3")
    mkdir "drm/$1"
    ln -s "../../../$pci" "drm/$1/device"
    echo "$number" >"drm/$1/dev"
    printf 'MAJOR=%s\nMINOR=%s\nDEVNAME=dri/%s\nDEVTYPE=drm_minor\n' "${number%:*}" "${number#*:}" "$1" >"drm/$1/uevent"
    ln -s "$gpu/drm/$1" "/sys/dev/char/$number"
}
# libdrm of Debian 13 takes a node for one of DRM's only if there is a card or render node of its minor number. /dev/null
# has 3, so the card is number 3.
back=$PWD
add_gpu 0000:00:02.0
add_node card3 card zero
add_node renderD128 render null
if ((${SOFTVA_GPUS:-1} > 1)); then
    add_gpu 0000:03:00.0
    add_node card7 card random # /dev/full has 7
    add_node renderD129 render full
fi
cd "$back"

umount --lazy "$old_dev"
rmdir "$old_dev"

export LIBVA_DRIVERS_PATH=$SOFTVA_DIR LIBVA_DRIVER_NAME=libsoftva
if [[ $control == - ]]; then
    export LIBVA_SOFTVA=$personality
else
    LIBVA_SOFTVA=$personality:$(realpath "$control")
    export LIBVA_SOFTVA
fi
exec "$@"
