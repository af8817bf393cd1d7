#!/usr/bin/env bash
# Writes THIRD-PARTY.md: what is linked into the programs, and under which licences.
#
#   deploy/notices.sh            writes it
#   deploy/notices.sh --check    fails if it is not as it would be written
set -euo pipefail
cd "$(dirname "$0")/.."

notices() {
    cat <<'END'
# Third-party notices

Written by `deploy/notices.sh`; a test keeps it current.

camshaft itself is under MIT or Apache-2.0, at your choice. The engine links FFmpeg and libva of the system: Debian builds FFmpeg
with `--enable-gpl`, so that a distributed image as a whole is under the GPL, version 2 or later; its packages with their versions
are in the image's SBOM (`make image` writes it). hls.js (Apache-2.0) is part of the tests.

Crates that the programs are built from:

| crate | version | licence |
|---|---|---|
END
    cargo metadata --locked --format-version 1 --filter-platform x86_64-unknown-linux-gnu | python3 -c '
import json, sys
data = json.load(sys.stdin)
packages = {package["id"]: package for package in data["packages"]}
nodes = {node["id"]: node for node in data["resolve"]["nodes"]}
shipped = {"camshaft", "camshaft-engine", "camshaft-shim"}
left = [id for id in data["workspace_members"] if packages[id]["name"] in shipped]
seen = set()
while left:
    id = left.pop()
    if id in seen:
        continue
    seen.add(id)
    # Without what only tests and build scripts need.
    left += [dep["pkg"] for dep in nodes[id]["deps"] if any(kind["kind"] is None for kind in dep["dep_kinds"])]
rows = sorted((packages[id]["name"], packages[id]["version"], packages[id]["license"] or "see its file") for id in seen
              if packages[id]["source"])
for row in rows:
    print("| " + " | ".join(row) + " |")
'
}

if [[ ${1-} == --check ]]; then
    notices | diff -u THIRD-PARTY.md - || { echo "THIRD-PARTY.md is out of date: run deploy/notices.sh" >&2 && exit 1; }
else
    notices >THIRD-PARTY.md
fi
