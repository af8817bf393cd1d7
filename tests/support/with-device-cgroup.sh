#!/usr/bin/env bash
# Runs a command in a cgroup that forbids one device, as containers do with all that they were not given: opening it gives
# EPERM, whatever its mode says. Needs root and the `devices` controller of cgroup v1; ends with 99 where they are missing.
#
#   with-device-cgroup.sh DEVICE COMMAND [ARGUMENT]...
set -euo pipefail

if (($# < 2)); then
    echo "usage: $0 DEVICE COMMAND [ARGUMENT]..." >&2
    exit 2
fi
if [[ ${DEVICE_CGROUP_INSIDE-} != yes ]]; then
    if ((EUID != 0)) || ! grep -q '^devices[[:space:]].*[[:space:]]1$' /proc/cgroups; then
        echo "This test needs root and the devices controller of cgroup v1." >&2
        exit 99
    fi
    # What is mounted here is nobody else's business.
    exec env DEVICE_CGROUP_INSIDE=yes unshare --mount "$0" "$@"
fi
unset DEVICE_CGROUP_INSIDE

hierarchy=$(mktemp -d)
if ! mount -t cgroup -o devices devices "$hierarchy"; then
    echo "The devices controller is not one of cgroup v1 here." >&2
    rmdir "$hierarchy"
    exit 99
fi
# Below the own cgroup, which may not be the topmost.
own=$(sed -n 's/^[0-9]*:devices:\(.*\)/\1/p' /proc/self/cgroup)
group=$(mktemp -d "$hierarchy$own/camshaft-test-XXXXXX")
leave() {
    rmdir "$group"
    umount "$hierarchy"
    rmdir "$hierarchy"
}
trap leave EXIT
echo "c $((16#$(stat -L -c %t "$1"))):$((16#$(stat -L -c %T "$1"))) rwm" >"$group/devices.deny"
shift
(
    echo "$BASHPID" >"$group/cgroup.procs"
    exec "$@"
)
