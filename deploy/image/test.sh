#!/usr/bin/env bash
# Runs the image hardened, against a camera and a GPU in software: a VA driver for tests, which is built where the image was.
#
#   deploy/image/test.sh [NAME]         after deploy/image/build.sh; NAME is camshaft:latest
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../.."
export CONTAINERS_CONF=$here/containers.conf
export CAMSHAFT_IMAGE=${1:-camshaft:latest}
export SOFTVA_DIR=${SOFTVA_DIR:-$PWD/target/image/softva}

if [[ ! -e $SOFTVA_DIR/libsoftva_drv_video.so ]]; then
    mkdir -p target/image
    . "$here/options.sh"
    podman build --quiet "${options[@]}" --target build --tag camshaft:build . >/dev/null
    podman run --rm --network host --volume "$PWD/target/image:/out" --env CARGO_TARGET_DIR=/out/build \
        "${mounts[@]}" \
        camshaft:build cargo build --locked --package softva
    install -D --target-directory="$SOFTVA_DIR" target/image/build/debug/libsoftva_drv_video.so
fi
cargo test --workspace --test it -- --ignored --exact image::the_hardened_image_decodes_a_camera_on_a_gpu
