#!/usr/bin/env bash
# Pure parsers under Miri, which finds what no machine shows: reads of what was never written, and arithmetic that only seems to
# work. None of them has `unsafe`; their crates have.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo +nightly miri --version >/dev/null 2>&1 || {
    echo "Miri comes with a nightly Rust: rustup toolchain install nightly --component miri,rust-src" >&2
    exit 1
}
CARGO_TARGET_DIR=$(realpath -m "${CARGO_TARGET_DIR:-target}")/miri
export CARGO_TARGET_DIR MIRIFLAGS=-Zmiri-disable-isolation
export PROPTEST_CASES=${PROPTEST_CASES:-4}
cargo +nightly miri test --package camshaft-shim --lib
exec cargo +nightly miri test --package camshaft --lib -- media:: link::wire:: auth::tokens:: auth::users:: rtsp::wire:: query:: \
    --skip every_number_comes_back --skip hostile "$@"
