#!/usr/bin/env bash
# Every target of fuzz/ under libFuzzer for FUZZ_SECONDS (60) each, then media mutated for as long against real workers. What is
# found by the way goes into fuzz/found, what fails into fuzz/artifacts.
set -euo pipefail
cd "$(dirname "$0")/../.."
seconds=${FUZZ_SECONDS:-60}
if ! cargo +nightly --version >/dev/null 2>&1; then
    echo "Coverage-guided fuzzing needs a nightly toolchain: rustup toolchain install nightly --profile minimal" >&2
    exit 1
fi
if ! cargo fuzz --version >/dev/null 2>&1; then
    echo "cargo-fuzz is missing: cargo install cargo-fuzz --version 0.13.1 --locked" >&2
    exit 1
fi
mapfile -t targets < <(sed -n 's/^name = "\([a-z]*\)"$/\1/p' fuzz/Cargo.toml)
for target in "${targets[@]}"; do
    mkdir -p "fuzz/found/$target"
    # Safe Rust throughout: a sanitizer would find nothing, and take half the runs.
    cargo +nightly fuzz run --sanitizer none "$target" "fuzz/found/$target" "fuzz/corpus/$target" -- \
        -max_total_time="$seconds" -max_len=4096 -timeout=10 -rss_limit_mb=2048 -print_final_stats=1
done
MUTATE_SECONDS=$seconds cargo test --workspace --test it -- --nocapture limits::mutants
