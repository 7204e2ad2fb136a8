//! The bodies of the fuzz targets on their seeds and on a few thousand mutations of them: the same ones in every run.
//! `cargo fuzz run TARGET` in `fuzz/` searches for hours; this keeps the targets from rotting and finds the obvious at once.

#[path = "../fuzz/bodies/filter.rs"]
mod filter;
#[path = "../fuzz/bodies/frame.rs"]
mod frame;
#[path = "../fuzz/bodies/ipset.rs"]
mod ipset;
#[path = "../fuzz/bodies/manifest.rs"]
mod manifest;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

type Body = fn(&[u8]);

/// Targets with the number of mutations of each seed; together they take a second or two.
const TARGETS: [(&str, Body, u64); 4] = [
    ("filter", filter::run, 2_000),
    ("frame", frame::run, 2_000),
    ("ipset", ipset::run, 300),
    ("manifest", manifest::run, 30),
];

#[test]
fn bodies_hold_on_seeds_and_mutations() {
    for (target, body, mutations) in TARGETS {
        let seeds = seeds(target);
        assert!(!seeds.is_empty(), "fuzz/seeds/{target} has no seeds");
        for (index, seed) in seeds.iter().enumerate() {
            hold(target, body, seed);
            for mutation in 0..mutations {
                let mut random = Random(mutation << 16 | index as u64);
                hold(target, body, &mutate(&mut random, seed, &seeds));
            }
        }
    }
}

#[test]
fn every_target_is_run_here() {
    let manifest = include_str!("../fuzz/Cargo.toml");
    let names: Vec<&str> = manifest
        .split("[[bin]]")
        .skip(1)
        .filter_map(|section| section.lines().find_map(|line| line.strip_prefix("name = ")))
        .map(|name| name.trim_matches('"'))
        .collect();
    assert_eq!(names, TARGETS.map(|(name, _, _)| name));
}

/// Runs a body, and says which input it does not survive.
fn hold(target: &str, body: Body, input: &[u8]) {
    if catch_unwind(AssertUnwindSafe(|| body(input))).is_err() {
        panic!("target {target} fails on b\"{}\"", input.escape_ascii());
    }
}

/// The files of `fuzz/seeds/TARGET`, by name; for manifests also the scenarios.
fn seeds(target: &str) -> Vec<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut seeds = files(&root.join("fuzz/seeds").join(target));
    if target == "manifest" {
        seeds.extend(files(&root.join("scenarios")));
    }
    seeds
}

fn files(folder: &Path) -> Vec<Vec<u8>> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<_> = entries
        .map(|entry| entry.expect("the seeds can be listed").path())
        .filter(|path| path.is_file())
        .collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).expect("the seeds can be read")).collect()
}

/// One to four changes: a byte set, a bit flipped, a piece cut, repeated, or taken from another seed.
fn mutate(random: &mut Random, seed: &[u8], seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len() + 1);
        let end = at + random.below((bytes.len() - at).min(24) + 1);
        match random.below(5) {
            0 if at < bytes.len() => bytes[at] = [0, 1, 0x7f, 0x80, 0xff, b'\n', b' ', b'-'][random.below(8)],
            1 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            2 => drop(bytes.drain(at..end)),
            3 => {
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
            _ => {
                let other = &seeds[random.below(seeds.len())];
                let from = random.below(other.len() + 1);
                let piece = other[from..(from + random.below(24)).min(other.len())].to_vec();
                bytes.splice(at..end, piece);
            }
        }
    }
    bytes
}

/// SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, range: usize) -> usize {
        usize::try_from(self.next() % range as u64).expect("below a usize")
    }
}

#[test]
fn property_tests_take_the_same_cases_every_time() {
    let seed = proptest::test_runner::Config::default().rng_seed;
    assert!(
        matches!(seed, proptest::test_runner::RngSeed::Fixed(_)),
        "the seed of property tests is {seed}: run them with cargo from inside the repository, so that .cargo/config.toml holds"
    );
}
