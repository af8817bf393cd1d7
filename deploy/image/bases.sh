#!/usr/bin/env bash
# Makes the two base images of the Dockerfile from Debian's packages and this machine's Rust, under the names that they
# have in the registry: for machines that reach Debian's archive and crates.io, but no image registry.
#
#   deploy/image/bases.sh          makes what podman does not have yet
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
export CONTAINERS_CONF=$here/containers.conf

debian=docker.io/library/debian:trixie-slim
rust=docker.io/library/rust:1.95-trixie
# The address that apt uses here: a mirror, or the archive itself.
archive=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -m1 -E '/debian/?$') ||
    { echo "apt knows no Debian archive" >&2 && exit 1; }

if ! podman image exists "$debian"; then
    tar=$(mktemp --suffix=.tar)
    trap 'rm -f "$tar"' EXIT
    mmdebstrap --quiet --variant=minbase --include=ca-certificates trixie "$tar" \
        "deb $archive trixie main" "deb $archive trixie-updates main"
    podman import --quiet --change 'CMD ["bash"]' "$tar" "$debian"
fi

if ! podman image exists "$rust"; then
    toolchain=$(rustc --print sysroot)
    context=$(mktemp -d)
    trap 'rm -rf "${tar-}" "$context"' EXIT
    mkdir "$context/rust"
    cp -a "$toolchain"/{bin,lib} "$context/rust/"
    printf 'FROM %s\nCOPY rust /usr/local\nENV CARGO_HOME=/usr/local/cargo\n' "$debian" >"$context/Dockerfile"
    podman build --quiet --tag "$rust" "$context"
fi
