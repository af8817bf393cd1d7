#!/usr/bin/env bash
# Installs the Debian packages of one set, if any are missing. Asks nothing; does nothing the second time.
#
#   deploy/bootstrap.sh build|demo|test|image
set -euo pipefail

# Names without versions only, so that one list serves Debian 12 and 13.
build=(
    gcc libc6-dev pkg-config clang libclang-dev # FFmpeg's headers are read with libclang
    libavcodec-dev libavformat-dev libavutil-dev libavfilter-dev libswscale-dev libva-dev
)
demo=("${build[@]}" curl)
test=(
    "${demo[@]}" ffmpeg # ffmpeg, ffprobe and curl are the independent clients, gst-rtsp-server is the camera
    python3 python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-tools gstreamer1.0-libav
    chromium chromium-driver # plays HLS
    vlc-bin vlc-plugin-base # records
    nginx-light openssl # serves sources, with TLS
    apache2-bin # serves sources behind a digest
    valgrind # counts instructions
    glib-networking # has gst-rtsp-server speak TLS
    libva-dev vainfo # for tests/softva, a VA-API driver in software
    iproute2 util-linux # networks whose cable is pulled; namespaces
    gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly
    python3-venv python3-jsonschema python3-yaml git prometheus mmdebstrap iproute2 # what is deployed: deploy/tools.sh has the rest
)
image=(podman buildah runc mmdebstrap netavark curl python3 ca-certificates)

case "${1-}" in
    build | demo | test | image) declare -n wanted="$1" ;;
    *) echo "usage: $0 build|demo|test|image" >&2 && exit 2 ;;
esac

missing=()
for package in "${wanted[@]}"; do
    state=$(dpkg-query --show --showformat '${db:Status-Status}' "$package" 2>/dev/null || true)
    [[ $state == installed ]] || missing+=("$package")
done
((${#missing[@]})) || exit 0

as_root=()
if ((EUID != 0)); then
    if ! command -v sudo >/dev/null; then
        printf 'Packages are missing and there is no sudo. As root, run:\n  apt-get install %s\n' "${missing[*]}" >&2
        exit 1
    fi
    as_root=(sudo)
fi

apt() { # waits for a system that is just updating itself
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get --yes --quiet -o DPkg::Lock::Timeout=300 "$@" </dev/null
}
echo "Installing with apt: ${missing[*]}"
apt update
apt install --no-install-recommends "${missing[@]}"
