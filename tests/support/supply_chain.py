#!/usr/bin/python3
"""Holds what Cargo.lock names against deny.toml, as far as that takes neither cargo-deny nor a network.

supply_chain.py ROOT [CARGO_METADATA_FILE]: prints each problem on a line of its own; ends with 1 if there are any.
"""

import collections
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

CRATES_IO = "registry+https://github.com/rust-lang/crates.io-index"


def cargo(root, *arguments):
    command = ["cargo", *arguments, "--locked", "--offline"]
    return subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout


def metadata(root, target):
    """What `cargo metadata` says, without crates that no feature brings in."""
    data = json.loads(cargo(root, "metadata", "--format-version", "1", "--filter-platform", target))
    tree = cargo(root, "tree", "--workspace", "--edges", "all", "--target", target, "--prefix", "none", "--format", "{p}")
    there = {tuple(line.split()[:2]) for line in tree.splitlines() if line}
    ids = {package["id"] for package in data["packages"] if (package["name"], f"v{package['version']}") in there}
    nodes = [dict(node, dependencies=[user for user in node["dependencies"] if user in ids])
             for node in data["resolve"]["nodes"] if node["id"] in ids]
    return {"packages": data["packages"], "resolve": {"nodes": nodes}}


def permits(expression, allowed):
    """SPDX expressions of AND, OR, WITH and parentheses; `/` is an old way to write OR."""
    text = re.sub(r"[\w.+-]+(?: WITH [\w.-]+)?", lambda name: name[0] if name[0] in ("AND", "OR") else
                  str(name[0] in allowed), expression.replace("/", " OR "))
    return eval(text.replace("AND", "and").replace("OR", "or"), {"__builtins__": {}})


def problems(rules, data):
    packages = {package["id"]: package for package in data["packages"]}
    nodes = {node["id"]: node for node in data["resolve"]["nodes"]}
    allowed = set(rules["licenses"]["allow"])
    skipped = {entry["crate"] for entry in rules["bans"]["skip"]}
    versions = collections.defaultdict(set)
    for identity in nodes:
        package = packages[identity]
        name, version = package["name"], package["version"]
        versions[name].add(version)
        if package["source"] not in (None, CRATES_IO):
            yield f"{name} {version} comes from {package['source']}, not from crates.io"
        if not permits(package["license"] or "none", allowed):
            yield f"{name} {version} is under {package['license']}, which deny.toml does not allow"
    for name, found in versions.items():
        more = sorted(version for version in found if f"{name}@{version}" not in skipped)
        if len(more) > 1:
            yield f"{name} is there in {', '.join(more)}: agree on one, or say in deny.toml (bans.skip) why not"
    for entry in rules["bans"]["deny"]:
        for identity, node in nodes.items():
            users = [packages[user]["name"] for user, other in nodes.items() if identity in other["dependencies"]]
            wrong = set(users) - set(entry.get("wrappers", []))
            if packages[identity]["name"] == entry["crate"] and wrong:
                yield f"{', '.join(sorted(wrong))} may not depend on {entry['crate']}: {entry['reason']}"


def needless(rules, graphs):
    """Entries of bans.skip that no target has use for."""
    versions = collections.defaultdict(set)
    for data in graphs:
        there = {node["id"] for node in data["resolve"]["nodes"]}
        for package in data["packages"]:
            if package["id"] in there:
                versions[package["name"]].add(package["version"])
    for entry in rules["bans"]["skip"]:
        name, version = entry["crate"].split("@")
        if len(versions[name]) < 2 or version not in versions[name]:
            yield f"deny.toml skips {entry['crate']}, which is not there in two versions"


def main():
    root = Path(sys.argv[1])
    rules = tomllib.loads((root / "deny.toml").read_text())
    graphs = [json.loads(Path(path).read_text()) for path in sys.argv[2:]]
    graphs = graphs or [metadata(root, target) for target in rules["graph"]["targets"]]
    found = set(needless(rules, graphs)).union(*(problems(rules, data) for data in graphs))
    print("\n".join(sorted(found)))
    sys.exit(bool(found))


main()
