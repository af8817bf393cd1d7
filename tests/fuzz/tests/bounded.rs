//! Every target on what is checked in and on seeded mutations of it, for some seconds: `FUZZ_SECONDS` and `FUZZ_SEED` of the
//! environment say otherwise. Input that fails stays in a file whose name the failure gives.

use camshaft_fuzz_targets::{TARGETS, Target};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The longest input; libFuzzer's runs have the same bound.
const LONGEST: usize = 4096;

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(name);
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files.iter().map(|file| std::fs::read(file).unwrap()).collect()
}

fn number(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

fn check(name: &str, target: Target, input: &[u8]) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| target(input))) {
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("fuzz-{name}-failed"));
        std::fs::write(&file, input).unwrap();
        eprintln!("{name} failed on {}", file.display());
        resume_unwind(panic);
    }
}

fn run(name: &str) {
    let (_, target) = TARGETS.into_iter().find(|(known, _)| *known == name).unwrap();
    let corpus = corpus(name);
    assert!(corpus.len() >= 3, "{} files in the corpus of {name}", corpus.len());
    corpus.iter().for_each(|input| check(name, target, input));
    let seed = number("FUZZ_SEED", 1);
    let mut random = fastrand::Rng::with_seed(seed);
    let end = Instant::now() + Duration::from_secs(number("FUZZ_SECONDS", 1));
    let mut runs = 0u64;
    while Instant::now() < end {
        check(name, target, &mutated(&corpus, &mut random));
        runs += 1;
    }
    eprintln!("{name}: {runs} inputs, seed {seed}");
}

/// One of the corpus with a few changes: bits, numbers, pieces left out, doubled, or of another.
fn mutated(corpus: &[Vec<u8>], random: &mut fastrand::Rng) -> Vec<u8> {
    let mut input = random.choice(corpus).unwrap().clone();
    for _ in 0..random.usize(1..=8) {
        let at = random.usize(0..=input.len());
        let end = (at + random.usize(0..64)).min(input.len());
        match random.u8(0..7) {
            0 if at < input.len() => input[at] ^= 1 << random.u8(0..8),
            1 if at < input.len() => input[at] = *random.choice(&[0, 1, 0x7f, 0x80, 0xff]).unwrap(),
            2 => input.insert(at, random.u8(..)),
            3 => drop(input.drain(at..end)),
            4 => {
                let piece = input[at..end].to_vec();
                input.splice(at..at, piece);
            }
            5 => {
                let other = random.choice(corpus).unwrap();
                let from = random.usize(0..=other.len());
                let piece = other[from..(from + random.usize(0..256)).min(other.len())].to_vec();
                input.splice(at..end, piece);
            }
            _ => input.truncate(at.max(1)),
        }
    }
    input.truncate(LONGEST);
    input
}

macro_rules! targets {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            run(stringify!($name));
        })*

        #[test]
        fn each_target_is_here_and_in_cargo_fuzz() {
            let here = [$(stringify!($name)),*];
            assert_eq!(here.to_vec(), TARGETS.map(|(name, _)| name).to_vec());
            let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/Cargo.toml");
            let manifest = std::fs::read_to_string(manifest).unwrap();
            for name in here {
                assert!(manifest.contains(&format!("path = \"targets/{name}.rs\"")), "{name} is not in fuzz/Cargo.toml");
            }
        }
    };
}

targets! { config link nal query ring rtsp shim writers }
