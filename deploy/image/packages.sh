#!/bin/sh
# What the image holds beside camshaft: FFmpeg's libraries without its program, and the VA drivers, which are in non-free
# for their media kernels: the free build of iHD encodes on few GPUs only. Intel's exist for amd64 alone.
#
#   packages.sh SUITE        where iHD comes from: trixie, or sid for GPUs that trixie's does not know
set -eu
suite=$1
export DEBIAN_FRONTEND=noninteractive

for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.sources; do
    [ -e "$file" ] || continue
    sed -i 's/ main$/ main non-free/' "$file"
    [ "$suite" != trixie ] || continue
    # The archive alone (its stanza is the first), not its security updates.
    case $file in
        *.sources) sed "/^\$/q; s/^Suites:.*/Suites: $suite/" "$file" >/etc/apt/sources.list.d/driver.sources ;;
        *) sed "/ trixie-/d; s/ trixie / $suite /" "$file" >/etc/apt/sources.list.d/driver.list ;;
    esac
    printf 'Package: *\nPin: release n=%s\nPin-Priority: 100\n' "$suite" >/etc/apt/preferences.d/driver
done

install() { apt-get install --quiet --yes --no-install-recommends "$@"; }
apt-get update --quiet
install ca-certificates libavcodec61 libavformat61 libavfilter10 libswscale8 libavutil59 libva2 libva-drm2
if [ "$(dpkg --print-architecture)" = amd64 ]; then
    install i965-va-driver
    install --target-release "$suite" intel-media-va-driver-non-free
fi
apt-get clean
rm -rf /var/lib/apt/lists/* /var/cache/* /var/log/* /usr/share/doc/* /usr/share/man/* /usr/share/locale/*
# Of libraries that come with FFmpeg and are asked for other things here: kinds of files for desktops, and ears.
rm -rf /usr/share/mime /usr/share/libmysofa
