#!/usr/bin/env bash
# Runs camshaft with two synthetic cameras until Ctrl-C. Started by `make demo`, which builds it first.
set -euo pipefail
cd "$(dirname "$0")/.."

# A session of its own: Ctrl-C reaches this script alone, which passes on one signal. A second one ends camshaft at once.
setsid "${CARGO_TARGET_DIR:-target}/release/camshaft" serve --config deploy/demo.yaml </dev/null &
server=$!
trap 'kill -TERM "$server" 2>/dev/null || true' INT TERM HUP

alive() { kill -0 "$server" 2>/dev/null; }

for ((tries = 0; tries < 150; tries++)); do
    curl --silent --fail --max-time 2 --output /dev/null http://127.0.0.1:8081/readyz && ready=yes && break
    alive || break
    sleep 0.2
done

if [[ ${ready-} ]] && alive; then
    cat <<'URLS'

camshaft is ready. Two cameras: "yard" (H.264 1280x720, 25 fps) and "gate" (HEVC 640x360, 10 fps).

  in a browser   http://127.0.0.1:8080/
                 http://127.0.0.1:8080/v1/streams/yard/live.mp4
                 http://127.0.0.1:8080/v1/streams/yard/live.mjpeg?width=640&fps=10
                 http://127.0.0.1:8080/v1/streams/gate/frame.jpg
  raw frames     ffplay 'http://127.0.0.1:8080/v1/streams/gate/live.y4m?fps=5'
  status         http://127.0.0.1:8080/v1/streams
  metrics        http://127.0.0.1:8081/metrics

Ctrl-C ends it.

URLS
elif alive; then
    echo "camshaft did not become ready within 30 s; what it waits for is in its log above" >&2
    kill -TERM "$server"
fi

# `wait` returns early whenever a signal is passed on.
while true; do
    wait "$server" && status=0 || status=$?
    alive || exit "$status"
done
