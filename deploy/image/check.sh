#!/usr/bin/env bash
# Holds an image against what docs/container.md promises of it, and writes its SBOM.
#
#   deploy/image/check.sh [NAME]        SBOM: target/image/sbom.json
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../.."
export CONTAINERS_CONF=$here/containers.conf
name=${1:-camshaft:latest}
most=$((420 * 1000 * 1000))

fail() { echo "check.sh: $*" >&2 && exit 1; }
inspect() { podman image inspect --format "$1" "$name"; }
# As docs/container.md has it. Limits in bytes; two CPUs are what CI has.
hardened=(--read-only --tmpfs "/tmp:rw,size=16m,nosuid,nodev,noexec" --cap-drop ALL --security-opt no-new-privileges
    --memory 1g --pids-limit 512)
inside() { podman run --rm --network none "${hardened[@]}" --entrypoint "$1" "$name" "${@:2}"; }

size=$(inspect '{{.Size}}')
((size <= most)) || fail "$((size / 1000000)) MB, more than $((most / 1000000))"
[[ $(inspect '{{.Config.User}}') == 65532:65532 ]] || fail "runs as $(inspect '{{.Config.User}}')"
[[ $(inspect '{{.Config.StopSignal}}') =~ ^(SIGTERM|15)$ ]] || fail "no STOPSIGNAL"
for program in gcc cc ld cargo rustc make python3 curl gst-launch-1.0 ffmpeg ffprobe; do
    ! inside sh -c "command -v $program" >/dev/null || fail "$program is on the image's PATH"
done
[[ $(inside id -u):$(inside id -g) == 65532:65532 ]] || fail "is not 65532:65532"
status=$(inside cat /proc/self/status)
grep -qE '^CapEff:\s+0+$' <<<"$status" || fail "has capabilities"
grep -qE '^NoNewPrivs:\s+1$' <<<"$status" || fail "may gain privileges"
! inside touch /usr/bin/x 2>/dev/null || fail "the root is writable"
inside camshaft --version >/dev/null
# There is no real ffmpeg for it to become, which it must say.
said=$(inside /usr/lib/camshaft/stand-in/bin/ffmpeg -nosuch 2>&1) || true
grep -qi ffmpeg <<<"$said" || fail "the stand-in does not run: $said"
said=$(inside camshaft check) || fail "camshaft check finds a problem: $said"
echo "$said"
grep -qE '^ok +sandbox' <<<"$said" || fail "workers cannot be confined"

# It serves a picture, and its health check sees so. On addresses and ports of its own, for others may run here.
container=$(podman run --detach --network host "${hardened[@]}" --env CAMSHAFT_SERVER_HTTP=127.0.0.57:18080 \
    --env CAMSHAFT_SERVER_ADMIN=127.0.0.57:18081 --env CAMSHAFT_SERVER_RTSP=127.0.0.57:18554 "$name")
trap 'podman rm --force --time 5 "$container" >/dev/null' EXIT
for ((tries = 0; tries < 150; tries++)); do
    podman exec "$container" camshaft live 2>/dev/null && ready=yes && break
    sleep 0.2
done
[[ ${ready-} ]] || { podman logs "$container" >&2 && fail "does not become ready"; }
picture=$(mktemp)
curl -sf --max-time 60 --output "$picture" 'http://127.0.0.57:18080/v1/streams/yard/frame.jpg?width=320' ||
    { podman logs "$container" >&2 && fail "serves no picture"; }
[[ $(head -c 2 "$picture" | od -An -tx1) == " ff d8" ]] || fail "what it serves is no JPEG"
rm "$picture"
podman stop --time 20 "$container" >/dev/null
[[ $(podman inspect --format '{{.State.ExitCode}}' "$container") == 0 ]] || fail "does not stop in order"

mkdir -p target/image
inside dpkg-query --show --showformat '${Package} ${Version} ${Architecture}\n' |
    python3 "$here/sbom.py" >target/image/sbom.json
echo "$name: $((size / 1000000)) MB, $(grep -c '"purl"' target/image/sbom.json) components in target/image/sbom.json"
