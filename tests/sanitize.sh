#!/usr/bin/env bash
# The engine and its tests under AddressSanitizer, on a machine with a made-up GPU: Rust's own memory, and what FFmpeg, libva and
# the VA driver take from malloc and give back. Built apart, some minutes the first time.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo +nightly --version >/dev/null 2>&1 || {
    echo "AddressSanitizer takes a nightly Rust: rustup toolchain install nightly" >&2
    exit 1
}
cargo build --workspace --tests # the driver, as other programs load it too
target=$(uname -m)-unknown-linux-gnu
SOFTVA_DIR=$(realpath "${CARGO_TARGET_DIR:-target}")/debug/deps
CARGO_TARGET_DIR=$(realpath "${CARGO_TARGET_DIR:-target}")/sanitize
export SOFTVA_DIR CARGO_TARGET_DIR CAMSHAFT_TESTS_UNCONFINED=1
# For the target alone, so that build scripts and macros are what they always are.
export "CARGO_TARGET_$(tr a-z- A-Z_ <<<"$target")_RUSTFLAGS=-Zsanitizer=address"
# Leaks are not looked for: libraries keep their tables until the end, and a worker is killed when its work is done.
export ASAN_OPTIONS=detect_leaks=0:strict_string_checks=1:detect_stack_use_after_return=1
sanitized() { cargo +nightly test --package camshaft-engine --target "$target" "$@"; }
export -f sanitized
export target
sanitized --bins
# But for what is about a machine without a GPU, and about limits.
tests/support/with-softva.sh haswell - bash -c 'sanitized --test worker -- --include-ignored \
    --skip life::a_device_that_is_not_there_is_named --skip life::a_worker_gives_up_what_it_does_not_need'
