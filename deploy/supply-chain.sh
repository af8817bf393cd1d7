#!/usr/bin/env bash
# What camshaft is built from, held against deny.toml by cargo-deny, and dependencies that nothing uses, by cargo-machete. Both
# come from crates.io into target/tools, once; that takes some minutes.
set -euo pipefail
cd "$(dirname "$0")/.."
tools=$PWD/target/tools
deny=0.20.2 machete=0.9.2

install() { # name, version
    [[ $("$tools/bin/$1" --version 2>/dev/null) == *" $2" ]] || cargo install --quiet --locked --root "$tools" --version "$2" "$1"
}
install cargo-deny "$deny"
install cargo-machete "$machete"
export PATH=$tools/bin:$PATH

cargo deny --workspace check licenses sources bans
# The database is a git repository elsewhere, which not every machine that builds can reach.
if cargo deny fetch db 2>/dev/null; then
    cargo deny --workspace check advisories
else
    echo "known vulnerabilities were NOT checked: RustSec's database (github.com/rustsec/advisory-db) is out of reach" >&2
fi
cargo machete
