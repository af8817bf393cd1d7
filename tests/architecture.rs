//! The rules of the code base that no compiler checks: who may import whom, where `unsafe` may live, who reads the
//! environment, how long a file may grow, and that the main program links no C media code.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// Who may import whom in the package `camshaft`.
const MAIN: &[(&str, &[&str])] = &[
    ("error", &[]),
    ("media", &["error"]),
    ("auth", &["error"]),
    ("ring", &["media", "error"]),
    ("fanout", &["media", "error"]),
    ("events", &["media", "error"]),
    ("metrics", &["media", "error"]),
    ("memory", &["metrics", "error"]),
    ("plan", &["media", "error"]),
    ("sandbox", &[]),
    ("admission", &["memory", "plan", "metrics", "media", "error"]),
    ("config", &["auth", "sandbox", "plan", "media", "error"]),
    ("query", &["plan", "media", "error"]),
    ("frigate", &["media", "error"]),
    ("tcp", &["error"]),
    ("link", &["sandbox", "plan", "metrics", "media", "error"]),
    ("ingest", &["sandbox", "link", "config", "media", "error"]),
    ("hw", &["events", "sandbox", "link", "plan", "metrics", "media", "error"]),
    ("output", &["ring", "fanout", "metrics", "media", "error"]),
    (
        "stream",
        &[
            "admission",
            "memory",
            "events",
            "sandbox",
            "hw",
            "link",
            "output",
            "ring",
            "fanout",
            "config",
            "plan",
            "metrics",
            "media",
            "error",
        ],
    ),
    (
        "job",
        &[
            "admission",
            "memory",
            "hw",
            "link",
            "output",
            "ring",
            "fanout",
            "config",
            "plan",
            "metrics",
            "media",
            "error",
        ],
    ),
    ("rtsp", &["auth", "stream", "job", "hw", "output", "query", "tcp", "config", "plan", "metrics", "media", "error"]),
    ("shm", &["stream", "fanout", "metrics", "media", "error"]),
    (
        "http",
        &[
            "auth", "events", "shm", "stream", "job", "hw", "output", "query", "tcp", "config", "plan", "metrics",
            "media", "error",
        ],
    ),
    (
        "cli",
        &[
            "frigate",
            "auth",
            "admission",
            "memory",
            "events",
            "rtsp",
            "http",
            "shm",
            "stream",
            "job",
            "query",
            "hw",
            "output",
            "ingest",
            "sandbox",
            "tcp",
            "link",
            "config",
            "plan",
            "metrics",
            "fanout",
            "ring",
            "media",
            "error",
        ],
    ),
    ("lib", &[]),
    ("main", &["cli", "error"]),
];

/// Who may import whom in the package `camshaft-engine`; modules of `camshaft` have their name in front.
const ENGINE: &[(&str, &[&str])] = &[
    ("av", &["camshaft::plan", "camshaft::media", "camshaft::error"]),
    ("va", &["camshaft::plan", "camshaft::media", "camshaft::error"]),
    (
        "sandbox",
        &["av", "va", "camshaft::sandbox", "camshaft::link", "camshaft::plan", "camshaft::media", "camshaft::error"],
    ),
    (
        "roles",
        &[
            "sandbox",
            "av",
            "va",
            "camshaft::sandbox",
            "camshaft::link",
            "camshaft::plan",
            "camshaft::media",
            "camshaft::error",
        ],
    ),
    (
        "main",
        &["roles", "sandbox", "av", "va", "camshaft::link", "camshaft::plan", "camshaft::media", "camshaft::error"],
    ),
];

/// Who may import whom in the package `camshaft-shim`, which shares nothing with the others.
const SHIM: &[(&str, &[&str])] = &[
    ("camera", &[]),
    ("command", &[]),
    ("filters", &[]),
    ("log", &[]),
    ("real", &[]),
    ("raw", &["filters"]),
    ("outputs", &["command", "filters", "raw"]),
    ("decision", &["camera", "command", "outputs", "raw"]),
    ("client", &["camera"]),
    ("source", &["camera", "client", "log"]),
    ("shared", &[]),
    ("pieces", &["camera", "client", "raw", "shared", "source"]),
    ("relay", &["pieces", "raw", "source"]),
    ("packets", &["client", "outputs", "source"]),
    (
        "session",
        &["camera", "client", "decision", "log", "outputs", "packets", "pieces", "raw", "real", "relay", "source"],
    ),
    ("lib", &["session"]),
    ("bin", &[]),
];

/// Modules, each with those that it may import.
type Table = &'static [(&'static str, &'static [&'static str])];

/// The packages' sources and their tables.
const PACKAGES: [(&str, Table); 3] = [("src/", MAIN), ("engine/src/", ENGINE), ("shim/src/", SHIM)];

/// The rooms for `unsafe`.
const UNSAFE_ROOMS: [&str; 4] = ["engine/src/av/", "engine/src/va/", "engine/src/sandbox.rs", "tests/softva/"];

/// Files that may be longer than [`LONGEST_FILE`], with the reason.
const LONG_FILES: [(&str, &str); 0] = [];
const LONGEST_FILE: usize = 500;

/// What the main program's manifest and its dynamic section may not name: FFmpeg and VA-API.
const C_MEDIA: [&str; 6] = ["ffmpeg", "libav", "libsw", "libpostproc", "libva", "cros-libva"];

#[test]
fn every_file_keeps_to_the_rules() {
    let files = rust_files();
    assert!(files.iter().any(|file| file == Path::new("src/lib.rs")), "found no sources: {files:?}");
    let problems: Vec<String> = files
        .iter()
        .flat_map(|file| {
            let text = fs::read_to_string(root().join(file)).unwrap();
            check(file.to_str().unwrap(), &text)
        })
        .collect();
    assert!(problems.is_empty(), "\n{}\n", problems.join("\n"));
}

#[test]
fn the_tables_have_no_cycle() {
    for (_, table) in PACKAGES {
        let mut settled: BTreeSet<&str> = BTreeSet::new();
        let mut open: BTreeMap<&str, &[&str]> = table.iter().copied().collect();
        while !open.is_empty() {
            let free = |imports: &[&str]| imports.iter().all(|m| m.starts_with("camshaft::") || settled.contains(m));
            let next: Vec<&str> = open.iter().filter(|(_, imports)| free(imports)).map(|(name, _)| *name).collect();
            assert!(!next.is_empty(), "these import each other, or something without a row: {:?}", open.keys());
            open.retain(|name, _| !next.contains(name));
            settled.extend(next);
        }
    }
}

#[test]
fn long_files_have_a_reason_and_are_long() {
    for (file, reason) in LONG_FILES {
        assert!(!reason.is_empty());
        let lines = fs::read_to_string(root().join(file)).unwrap().lines().count();
        assert!(lines > LONGEST_FILE, "{file} has only {lines} lines: take it off the list");
    }
}

#[test]
fn the_checker_sees_planted_violations() {
    let planted = [
        ("src/media/time.rs", "use crate::ring::Ring;", "media may not import ring"),
        (
            "src/media/time.rs",
            "use std::{io, fmt}; use crate::{error::{Error, Result}, plan};",
            "media may not import plan",
        ),
        ("src/ring.rs", "fn f() -> crate::stream::Registry { todo!() }", "ring may not import stream"),
        ("src/ring.rs", "use super::stream::Registry;", "ring may not import stream"),
        ("src/plan/mod.rs", "mod inner { use super::super::hw; }", "plan may not import hw"),
        ("src/output/mp4/boxes.rs", "use super::super::super::{media::Packet, http};", "output may not import http"),
        ("src/http/mod.rs", "use crate::*;", "http may not import *"),
        ("src/job/mod.rs", "use crate as everything;", "job may not import the whole crate"),
        ("src/error.rs", "use camshaft::media;", "error may not import media"),
        ("src/config/mod.rs", "macro_rules! m { () => { $crate::stream::run() } }", "config may not import stream"),
        ("src/shortcut.rs", "use crate::media::Packet;", "shortcut has no row"),
        ("src/shortcut/mod.rs", "", "shortcut has no row"),
        ("src/main.rs", "fn main() { camshaft::stream::run() }", "main may not import stream"),
        ("src/cli/serve.rs", "use crate::ingest;", "only cli/worker.rs may name ingest"),
        ("src/stream/mod.rs", "fn f() { std::env::var(\"HOME\"); }", "only cli may read the environment"),
        ("src/stream/mod.rs", "use std::env::{self, vars_os};", "only cli may read the environment"),
        ("src/output/mod.rs", "fn f() { unsafe { g() } }", "'unsafe' outside its rooms"),
        ("src/output/mod.rs", "#[cfg(test)] mod tests { unsafe fn f() {} }", "'unsafe' outside its rooms"),
        ("tests/it/main.rs", "#[unsafe(no_mangle)] fn f() {}", "'unsafe' outside its rooms"),
        ("engine/src/roles/job.rs", "unsafe impl Send for X {}", "'unsafe' outside its rooms"),
        ("engine/src/av/scaler.rs", "use crate::roles;", "av may not import roles"),
        ("engine/src/av/scaler.rs", "use camshaft::{media::Geometry, link};", "av may not import camshaft::link"),
        ("engine/src/roles/job.rs", "use camshaft::stream::Registry;", "roles may not import camshaft::stream"),
        ("src/ring.rs", "#[cfg(test)] use crate::stream; use crate::job;", "ring may not import job"),
        ("shim/src/decision.rs", "use crate::client::Client;", "decision may not import client"),
        ("src/ring.rs", &"\n".repeat(501), "501 lines"),
    ];
    for (file, text, expected) in planted {
        let problems = check(file, text);
        assert_eq!(problems.len(), 1, "{file}: {text}: {problems:?}");
        assert!(problems[0].contains(expected), "{file}: {text}: {problems:?}");
    }
}

#[test]
fn the_checker_lets_the_innocent_pass() {
    let innocent = [
        ("src/ring.rs", "// use crate::stream;\n/* unsafe */ const S: &str = \"crate::stream unsafe\";"),
        ("src/ring.rs", "/// See [`crate::stream`].\npub(crate) fn f<'a>(c: &'a char) -> bool { *c == '\"' }"),
        ("src/ring.rs", "#[cfg(test)]\nmod tests { use super::*; use crate::stream; }"),
        ("src/ring.rs", "#[cfg(test)]\n#[path = \"x.rs\"]\nmod tests;\nuse crate::{error::Result, media};"),
        ("src/stream/tests.rs", "use crate::http;"),
        ("src/stream/worker/feed.rs", "use super::super::Registry; use super::status::{self, Status};"),
        ("src/cli/worker.rs", "use crate::ingest; fn f() { std::env::vars_os(); }"),
        ("src/error.rs", "const V: &str = env!(\"CARGO_PKG_VERSION\"); fn f(ffmpeg_camshaft: u8) {}"),
        ("engine/src/sandbox.rs", "use crate::av; unsafe fn f() {}"),
        ("tests/softva/src/lib.rs", "unsafe extern \"C\" fn f() {}"),
    ];
    for (file, text) in innocent {
        assert_eq!(check(file, text), Vec::<String>::new(), "{file}: {text}");
    }
}

/// `make lint` runs clippy; this keeps it told what to deny.
#[test]
fn clippy_denies_what_could_panic_and_unsafe_without_a_proof() {
    let panics = ["unwrap_used", "expect_used", "panic", "indexing_slicing", "unreachable"];
    for file in ["src/lib.rs", "engine/src/main.rs", "shim/src/lib.rs"] {
        let text = fs::read_to_string(root().join(file)).unwrap();
        let denied = text.split_once("deny(").and_then(|(_, rest)| rest.split_once(')')).map_or("", |(list, _)| list);
        let missing = panics.into_iter().find(|lint| !denied.contains(&format!("clippy::{lint}")));
        assert_eq!(missing, None, "{file} denies {denied}");
    }
    for file in ["engine/Cargo.toml", "tests/softva/Cargo.toml"] {
        let text = fs::read_to_string(root().join(file)).unwrap();
        for lint in ["undocumented_unsafe_blocks", "multiple_unsafe_ops_per_block", "unsafe_op_in_unsafe_fn"] {
            assert!(text.contains(&format!("{lint} = \"deny\"")), "{file}: {lint}");
        }
    }
}

#[test]
fn the_manifest_of_the_main_program_names_no_c_media_code() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let dependencies: Vec<&str> = manifest
        .split("\n[")
        .filter(|section| section.split(']').next().is_some_and(|name| name.contains("dependencies")))
        .flat_map(|section| section.lines().skip(1))
        .collect();
    assert!(dependencies.iter().any(|line| line.starts_with("tokio")), "found no dependencies: {dependencies:?}");
    let wrong = dependencies.iter().find(|line| C_MEDIA.iter().any(|name| line.contains(name)));
    assert_eq!(wrong, None, "FFmpeg and VA-API belong into camshaft-engine");
}

#[test]
fn the_main_program_links_no_c_media_code() {
    let output = Command::new("readelf").args(["--dynamic", "--wide", env!("CARGO_BIN_EXE_camshaft")]).output();
    let output = output.expect("readelf comes with every linker: apt-get install binutils");
    let section = String::from_utf8(output.stdout).unwrap();
    let needed: Vec<&str> = section.lines().filter(|line| line.contains("(NEEDED)")).collect();
    assert!(needed.iter().any(|line| line.contains("libc.so")), "this is no dynamic section: {section}");
    let wrong = needed.iter().find(|line| C_MEDIA.iter().any(|name| line.contains(name)));
    assert_eq!(wrong, None, "FFmpeg and VA-API belong into camshaft-engine");
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file of the workspace, relative to its root.
fn rust_files() -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut pending: Vec<PathBuf> =
        ["src", "engine", "shim", "tests", "benches"].iter().map(|name| root().join(name)).collect();
    while let Some(path) = pending.pop() {
        if path.is_dir() {
            pending.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path.strip_prefix(root()).unwrap().to_path_buf());
        }
    }
    files.sort();
    files
}

/// Everything that is wrong with a file of this path (relative to the root) and text.
fn check(file: &str, text: &str) -> Vec<String> {
    let tokens = TokenStream::from_str(text).unwrap_or_else(|error| panic!("{file} is no Rust: {error}"));
    let mut problems = BTreeSet::new();
    if names_unsafe(tokens.clone()) && !UNSAFE_ROOMS.iter().any(|room| file.starts_with(room)) {
        problems.insert("'unsafe' outside its rooms".to_owned());
    }
    let package = PACKAGES.iter().find_map(|(folder, table)| Some((*table, file.strip_prefix(folder)?)));
    let Some((table, inside)) = package else {
        return problems.into_iter().map(|problem| format!("{file}: {problem}")).collect();
    };
    let lines = text.lines().count();
    if lines > LONGEST_FILE && !LONG_FILES.iter().any(|(known, _)| *known == file) {
        problems.insert(format!("{lines} lines, more than {LONGEST_FILE}: split it, or say here why not"));
    }
    let module_path = module_path(inside);
    let module = module_path.first().copied().unwrap_or_default();
    match table.iter().find(|(name, _)| *name == module) {
        None => _ = problems.insert(format!("{module} has no row in the table")),
        // Tests may know more than what they test.
        Some(_) if module_path.last() == Some(&"tests") => {}
        Some((_, allowed)) => {
            let mut seen = Imports::default();
            // The files at the root are the crate itself.
            let depth = if matches!(module, "lib" | "main") { 0 } else { module_path.len() };
            seen.walk(tokens, depth);
            problems.extend(seen.verdicts(inside, module, allowed));
            if file.starts_with("src/") && module != "cli" && seen.environment {
                problems.insert("only cli may read the environment".into());
            }
        }
    }
    problems.into_iter().map(|problem| format!("{file}: {problem}")).collect()
}

/// `a/b.rs` and `a/b/mod.rs` are `a::b`.
fn module_path(inside: &str) -> Vec<&str> {
    let path = inside.strip_suffix(".rs").unwrap_or(inside);
    path.strip_suffix("/mod").unwrap_or(path).split('/').collect()
}

fn names_unsafe(tokens: TokenStream) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Ident(name) => name == "unsafe",
        TokenTree::Group(group) => names_unsafe(group.stream()),
        _ => false,
    })
}

/// What a file names outside its own module, tests left out.
#[derive(Default)]
struct Imports {
    /// First names after `crate::`, or after as many `super::` as lead to the root.
    own: BTreeSet<String>,
    /// First names after `camshaft::`.
    camshaft: BTreeSet<String>,
    environment: bool,
}

impl Imports {
    /// `depth` is the number of `super` that lead from here to the root.
    fn walk(&mut self, tokens: TokenStream, depth: usize) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut rest = tokens.as_slice();
        while let Some(token) = rest.first() {
            if is_test_attribute(rest) {
                rest = after_item(rest);
                continue;
            }
            match token {
                TokenTree::Ident(name) if name == "mod" => {
                    if let Some(TokenTree::Group(body)) = rest.get(2) {
                        self.walk(body.stream(), depth + 1);
                        rest = &rest[3..];
                        continue;
                    }
                }
                TokenTree::Ident(name) if name == "crate" => match after_path_separator(&rest[1..]) {
                    Some(path) => self.own.extend(first_names(path)),
                    None if rest.len() > 1 => _ = self.own.insert("the whole crate".into()),
                    None => {} // pub(crate)
                },
                TokenTree::Ident(name) if name == "camshaft" => {
                    self.camshaft.extend(after_path_separator(&rest[1..]).into_iter().flat_map(first_names));
                }
                TokenTree::Ident(name) if name == "super" && depth > 0 => {
                    let mut supers = 1;
                    while let Some(path) = after_path_separator(&rest[1..])
                        && is_name(path, "super")
                    {
                        supers += 1;
                        rest = path;
                    }
                    if supers == depth {
                        self.own.extend(after_path_separator(&rest[1..]).into_iter().flat_map(first_names));
                    }
                }
                TokenTree::Ident(name) if name == "env" => {
                    let mut used = after_path_separator(&rest[1..]).into_iter().flat_map(first_names);
                    self.environment |= used.any(|name| name.starts_with("var") || name == "*");
                }
                TokenTree::Group(group) => self.walk(group.stream(), depth),
                _ => {}
            }
            rest = &rest[1..];
        }
    }

    fn verdicts(&self, inside: &str, module: &str, allowed: &[&str]) -> Vec<String> {
        // The program's own modules are the library's, but for its main file; the engine sees the library from outside.
        let in_engine = allowed.iter().any(|name| name.starts_with("camshaft::"));
        let camshaft =
            self.camshaft.iter().map(|name| if in_engine { format!("camshaft::{name}") } else { name.clone() });
        let mut verdicts: Vec<String> = self
            .own
            .iter()
            .cloned()
            .chain(camshaft)
            .filter(|name| name != module && !allowed.contains(&name.as_str()))
            .map(|name| format!("{module} may not import {name}"))
            .collect();
        if module == "cli" && inside != "cli/worker.rs" && self.own.union(&self.camshaft).any(|m| m == "ingest") {
            verdicts.push("only cli/worker.rs may name ingest".into());
        }
        verdicts
    }
}

/// What follows `::`, if the tokens start with it.
fn after_path_separator(tokens: &[TokenTree]) -> Option<&[TokenTree]> {
    match tokens {
        [TokenTree::Punct(first), TokenTree::Punct(second), path @ ..]
            if first.as_char() == ':' && second.as_char() == ':' =>
        {
            Some(path)
        }
        _ => None,
    }
}

fn is_name(tokens: &[TokenTree], expected: &str) -> bool {
    matches!(tokens.first(), Some(TokenTree::Ident(name)) if name == expected)
}

/// `a::b` gives `a`; `{a::b, c::{d, e}}` gives `a` and `c`; `self` is nobody.
fn first_names(path: &[TokenTree]) -> Vec<String> {
    match path.first() {
        Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
            let inner: Vec<TokenTree> = group.stream().into_iter().collect();
            let is_comma = |token: &TokenTree| matches!(token, TokenTree::Punct(mark) if mark.as_char() == ',');
            inner.split(is_comma).flat_map(first_names).collect()
        }
        Some(TokenTree::Ident(name)) if name == "self" => vec![],
        Some(token) => vec![token.to_string()],
        None => vec![],
    }
}

/// Whether `#[cfg(test)]` comes next.
fn is_test_attribute(tokens: &[TokenTree]) -> bool {
    let [TokenTree::Punct(hash), TokenTree::Group(attribute), ..] = tokens else { return false };
    hash.as_char() == '#' && attribute.stream().to_string().replace(' ', "") == "cfg(test)"
}

/// What follows the item that comes next: its end is the first `;` or `{…}` outside other brackets.
fn after_item(tokens: &[TokenTree]) -> &[TokenTree] {
    let ends = |token: &TokenTree| match token {
        TokenTree::Punct(mark) => mark.as_char() == ';',
        TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
        _ => false,
    };
    let end = tokens.iter().position(ends).map_or(tokens.len(), |end| end + 1);
    &tokens[end..]
}
