#!/usr/bin/env bash
# Builds the image with podman, checks it, and writes its SBOM.
#
#   deploy/image/build.sh [NAME] [BUILD_OPTION]...      NAME is camshaft:latest
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../.."
export CONTAINERS_CONF=$here/containers.conf
name=${1:-camshaft:latest}
shift || true

podman pull --quiet --policy missing docker.io/library/debian:trixie-slim >/dev/null 2>&1 &&
    podman pull --quiet --policy missing docker.io/library/rust:1.95-trixie >/dev/null 2>&1 || "$here/bases.sh"

. "$here/options.sh"
podman build "${options[@]}" --tag "$name" "$@" .
"$here/check.sh" "$name"
