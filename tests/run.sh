#!/usr/bin/env bash
# The suite. Tests that fail beside all others, on a machine that others may load, are run once more, one at a time: what
# fails twice fails the suite, what passes alone is named at the end so that nobody overlooks it. More than a handful at once
# is no noise and is not tried again.
set -uo pipefail
cd "$(dirname "$0")/.."
handful=6
log=$(mktemp) && trap 'rm -f "$log"' EXIT

cargo test --workspace --no-fail-fast "$@" 2>&1 | tee "$log" && exit 0

# libtest lists the failed tests, each on a line of its own, under its last `failures:`.
mapfile -t failed < <(sed -n '/^failures:$/,/^test result:/s/^    \([a-z0-9_:]*\)$/\1/p' "$log" | sort -u)
if ((${#failed[@]} == 0 || ${#failed[@]} > handful)); then
    echo "${#failed[@]} tests failed" >&2
    exit 1
fi
printf 'once more, alone: %s\n' "${failed[@]}" >&2
cargo test --workspace --no-fail-fast "$@" -- --exact --test-threads=1 "${failed[@]}" || exit 1
printf 'failed in company, passed alone: %s\n' "${failed[@]}" >&2
