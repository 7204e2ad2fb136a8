//! Runs the fuzz targets on their seeds and on a few thousand inputs derived from them, reproducibly. `fuzz/run`
//! searches for hours; this test keeps the targets working and finds obvious failures.

#[path = "../fuzz/bodies/dns.rs"]
mod dns;
#[path = "../fuzz/bodies/dump.rs"]
mod dump;
#[path = "../fuzz/bodies/filter.rs"]
mod filter;
#[path = "../fuzz/bodies/frame.rs"]
mod frame;
#[path = "../fuzz/bodies/ipset.rs"]
mod ipset;
#[path = "../fuzz/bodies/ipvs.rs"]
mod ipvs;
#[path = "../fuzz/bodies/manifest.rs"]
mod manifest;
#[path = "../fuzz/bodies/places.rs"]
mod places;
#[path = "../fuzz/bodies/rules.rs"]
mod rules;
#[path = "../fuzz/bodies/scenario.rs"]
mod scenario;
#[path = "../fuzz/bodies/segment.rs"]
mod segment;
#[path = "../fuzz/bodies/world.rs"]
mod world;
#[path = "../fuzz/bodies/yaml.rs"]
mod yaml;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

type Body = fn(&[u8]);

/// Targets with the number of inputs derived from each seed; together they take some seconds.
const TARGETS: [(&str, Body, u64); 12] = [
    ("dns", dns::run, 400),
    ("dump", dump::run, 60),
    ("filter", filter::run, 2_000),
    ("frame", frame::run, 2_000),
    ("ipset", ipset::run, 300),
    ("ipvs", ipvs::run, 300),
    ("manifest", manifest::run, 25),
    ("rules", rules::run, 60),
    ("scenario", scenario::run, 25),
    ("segment", segment::run, 400),
    ("world", world::run, 25),
    ("yaml", yaml::run, 200),
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
                let input = match mutation % 4 {
                    0 => mutate_lines(&mut random, seed, &seeds),
                    1 => words_of(&mut random, &seeds),
                    _ => mutate(&mut random, seed, &seeds),
                };
                hold(target, body, &input);
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

/// Runs a target, and reports the input that makes it panic.
fn hold(target: &str, body: Body, input: &[u8]) {
    if catch_unwind(AssertUnwindSafe(|| body(input))).is_err() {
        panic!("target {target} fails on b\"{}\"", input.escape_ascii());
    }
}

/// The files of `fuzz/seeds/TARGET`, by name; for manifests and scenarios also the built-in scenarios.
fn seeds(target: &str) -> Vec<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut seeds = files(&root.join("fuzz/seeds").join(target));
    if ["manifest", "scenario"].contains(&target) {
        seeds.extend(files(&root.join("scenarios")));
    }
    seeds
}

fn files(folder: &Path) -> Vec<Vec<u8>> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<_> = entries
        .map(|entry| entry.expect("seeds are readable").path())
        .filter(|path| path.is_file())
        .collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).expect("seeds are readable")).collect()
}

/// One to four changes: a byte set, a bit flipped, or a range deleted, repeated, or copied from another seed.
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

/// One to four lines dropped, repeated, moved, or taken from another seed, or a number in one replaced.
fn mutate_lines(random: &mut Random, seed: &[u8], seeds: &[Vec<u8>]) -> Vec<u8> {
    let lines_of =
        |text: &[u8]| text.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect::<Vec<_>>();
    let mut lines = lines_of(seed);
    for _ in 0..=random.below(4) {
        let at = random.below(lines.len() + 1);
        let line = lines.get(at).cloned().unwrap_or_default();
        match random.below(5) {
            0 if at < lines.len() => drop(lines.remove(at)),
            1 => lines.insert(at, line),
            2 => lines.insert(random.below(lines.len() + 1), line),
            3 if at < lines.len() => lines[at] = with_another_number(random, &line),
            _ => {
                let other = lines_of(&seeds[random.below(seeds.len())]);
                if !other.is_empty() {
                    lines.insert(at, other[random.below(other.len())].clone());
                }
            }
        }
    }
    lines.concat()
}

/// The line with its last number replaced by a boundary value.
fn with_another_number(random: &mut Random, line: &[u8]) -> Vec<u8> {
    const NUMBERS: [&str; 9] =
        ["0", "-1", "255", "256", "65535", "65536", "4294967296", "18446744073709551616", "1.5"];
    let Some(end) = line.iter().rposition(u8::is_ascii_digit) else { return line.to_vec() };
    let start = line[..end].iter().rposition(|byte| !byte.is_ascii_digit()).map_or(0, |before| before + 1);
    [&line[..start], NUMBERS[random.below(NUMBERS.len())].as_bytes(), &line[end + 1..]].concat()
}

/// Up to forty words of all seeds, each with its successor.
fn words_of(random: &mut Random, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut text = Vec::new();
    for _ in 0..random.below(40) {
        let seed = &seeds[random.below(seeds.len())];
        let words: Vec<&[u8]> = seed.split_inclusive(|byte| byte.is_ascii_whitespace()).collect();
        if !words.is_empty() {
            text.extend_from_slice(words[random.below(words.len())]);
        }
    }
    text
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
