# How podman builds here; sourced by who builds the image and who builds something else with its compiler.
# shellcheck shell=bash disable=SC2034

# Behind a proxy that opens TLS, cargo must trust what this machine trusts. Mounts leave nothing in the image.
mounts=()
authorities=${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}
[[ ! -e $authorities ]] || mounts+=(--volume "$authorities:/etc/ssl/certs/ca-certificates.crt:ro")
registry=${CARGO_HOME:-$HOME/.cargo}/registry
[[ ! -d $registry ]] || mounts+=(--volume "$registry:/usr/local/cargo/registry")
# Docker's format: OCI's has no health checks.
options=(--network host --format docker "${mounts[@]}")
# The commit's time, so that the same commit gives the same files.
if epoch=$(git log -1 --format=%ct 2>/dev/null); then
    options+=(--build-arg "SOURCE_DATE_EPOCH=$epoch" --timestamp "$epoch")
fi
