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

# Docker's format: OCI's has no health checks.
options=(--network host --format docker --tag "$name")
# Behind a proxy that opens TLS, cargo must trust what this machine trusts. Mounts leave nothing in the image.
authorities=${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}
[[ ! -e $authorities ]] || options+=(--volume "$authorities:/etc/ssl/certs/ca-certificates.crt:ro")
registry=${CARGO_HOME:-$HOME/.cargo}/registry
[[ ! -d $registry ]] || options+=(--volume "$registry:/usr/local/cargo/registry")
# The commit's time, so that the same commit gives the same files.
if epoch=$(git log -1 --format=%ct 2>/dev/null); then
    options+=(--build-arg "SOURCE_DATE_EPOCH=$epoch" --timestamp "$epoch")
fi
podman build "${options[@]}" "$@" .
"$here/check.sh" "$name"
