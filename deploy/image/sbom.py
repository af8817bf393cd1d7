#!/usr/bin/env python3
"""Writes the image's bill of materials as CycloneDX 1.6 JSON: the crates that its programs are built of, from Cargo, and
the Debian packages that it holds, from standard input (NAME VERSION ARCHITECTURE a line, as dpkg-query prints them)."""

import json
import subprocess
import sys
import tomllib
from urllib.parse import quote

PROGRAMS = ["camshaft", "camshaft-engine", "camshaft-shim"]


def crates():
    """Name and version of every crate that is linked, camshaft's own among them."""
    found = set()
    for program in PROGRAMS:
        tree = ["cargo", "tree", "--locked", "--package", program, "--edges", "normal", "--prefix", "none", "--format", "{p}"]
        for line in subprocess.run(tree, check=True, capture_output=True, text=True).stdout.splitlines():
            name, version = line.split()[:2]
            found.add((name, version.removeprefix("v")))
    return sorted(found)


def component(kind, name, version, purl, **more):
    return {"type": kind, "bom-ref": purl, "name": name, "version": version, "purl": purl, **more}


def main():
    with open("Cargo.lock", "rb") as lock:
        checksums = {(p["name"], p["version"]): p.get("checksum") for p in tomllib.load(lock)["package"]}
    components = []
    for name, version in crates():
        checksum = checksums.get((name, version))
        hashes = {"hashes": [{"alg": "SHA-256", "content": checksum}]} if checksum else {}
        components.append(component("library", name, version, f"pkg:cargo/{name}@{version}", **hashes))
    for name, version, architecture in sorted(tuple(line.split()) for line in sys.stdin):
        purl = f"pkg:deb/debian/{name}@{quote(version, safe='')}?arch={architecture}&distro=debian-13"
        components.append(component("library", name, version, purl))
    own = next(c for c in components if c["name"] == "camshaft")
    json.dump(
        {
            "bomFormat": "CycloneDX",
            "specVersion": "1.6",
            "version": 1,
            "metadata": {"component": {**own, "type": "container"}},
            "components": [c for c in components if c is not own],
        },
        sys.stdout,
        indent=1,
    )
    print()


if __name__ == "__main__":
    main()
