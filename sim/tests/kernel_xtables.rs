//! Input accepted by `iptables-restore` and output of `iptables-save`, against recordings of both back ends of version
//! 1.8.9 on Linux 6.18, and against the real tools if available.
//!
//! The live test needs root, `unshare`, `bash`, `iptables-legacy` and `iptables-nft`; it skips with a message if they
//! are missing.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

#[path = "support/netns.rs"]
mod netns;

use sim::hook::Family;
use sim::ipset::Ipset;
use sim::xtables::{RestoreOptions, TableKind, Xtables};
use std::fmt::Write as _;

/// Cases are separated by empty lines. `table NAME OPTIONS` gives the table of the rules and the options of the tool.
/// It is followed by rules, which get chain `CH` in addition to the built-in chains, or by a whole text with `|` before
/// each line. `= both`, `= legacy` and `= nft` are followed by the output of that back end, or `refused`; `= here`,
/// after a reason, by the output of this simulator if it differs from the legacy back end's.
const CORPUS: &str = include_str!("xtables/corpus.txt");

#[derive(Clone, Debug, Default)]
struct Case {
    line: usize,
    table: String,
    options: Vec<String>,
    text: String,
    legacy: Vec<String>,
    nft: Vec<String>,
    here: Option<Vec<String>>,
}

impl Case {
    fn expected(&self) -> &[String] {
        self.here.as_ref().unwrap_or(&self.legacy)
    }
}

fn cases() -> Vec<Case> {
    let lines: Vec<(usize, &str)> = (1..).zip(CORPUS.lines()).collect();
    lines.split(|(_, line)| line.is_empty()).filter(|block| !block.is_empty()).map(case).collect()
}

fn case(block: &[(usize, &str)]) -> Case {
    let mut case = Case { line: block[0].0, table: "filter".to_owned(), ..Case::default() };
    let (mut rules, mut text) = (String::new(), Vec::new());
    let mut section = "";
    for (_, line) in block {
        if let Some(name) = line.strip_prefix("= ") {
            section = name;
            if section == "here" {
                case.here = Some(Vec::new());
            }
            continue;
        }
        match section {
            "" => {
                if let Some(words) = line.strip_prefix("table ") {
                    let mut words = words.split(' ').map(str::to_owned);
                    case.table = words.next().unwrap();
                    case.options = words.collect();
                } else if let Some(line) = line.strip_prefix('|') {
                    text.push(line.replace("\\r", "\r"));
                } else {
                    _ = writeln!(rules, "{line}");
                }
            }
            "both" => {
                case.legacy.push((*line).to_owned());
                case.nft.push((*line).to_owned());
            }
            "legacy" => case.legacy.push((*line).to_owned()),
            "nft" => case.nft.push((*line).to_owned()),
            "here" if line.starts_with('#') => {}
            "here" => case.here.as_mut().unwrap().push((*line).to_owned()),
            other => panic!("line {}: no section {other}", case.line),
        }
    }
    case.text = if text.is_empty() {
        format!("*{}\n:CH - [0:0]\n{rules}COMMIT\n", case.table)
    } else {
        text.join("\n")
    };
    case
}

/// The compared part of a saved table: rules, and chains that are not built in.
fn kept(saved: &str) -> Vec<String> {
    let is_default =
        |line: &str| line == ":CH - [0:0]" || (line.starts_with(':') && line.ends_with(" ACCEPT [0:0]"));
    saved
        .lines()
        .filter(|line| line.starts_with(['-', ':', '[']) && !is_default(line))
        .map(str::to_owned)
        .collect()
}

fn here(case: &Case) -> Vec<String> {
    let mut xtables = Xtables::default();
    let has = |option: &str| case.options.iter().any(|given| given == option);
    let options = RestoreOptions { noflush: has("--noflush"), counters: has("--counters") };
    match xtables.restore(&mut Ipset::default(), Family::Ipv4, "corpus", &case.text, options) {
        Ok(()) => {
            let saved = xtables.save(Family::Ipv4, options.counters);
            let table = saved.split(&format!("*{}\n", case.table)).nth(1).unwrap_or_default();
            kept(table.split("COMMIT\n").next().unwrap())
        }
        Err(_) => vec!["refused".to_owned()],
    }
}

#[test]
fn texts_are_taken_and_printed_as_recorded() {
    let mut differences = String::new();
    for case in cases() {
        let (found, expected) = (here(&case), case.expected());
        if found != expected {
            _ = writeln!(
                differences,
                "line {}: {}\n  here {found:?}\n  not  {expected:?}",
                case.line, case.text
            );
        }
    }
    assert!(differences.is_empty(), "\n{differences}");
}

#[test]
fn what_is_printed_is_printed_again() {
    for case in cases() {
        let mut xtables = Xtables::default();
        if xtables
            .restore(&mut Ipset::default(), Family::Ipv4, "corpus", &case.text, RestoreOptions::default())
            .is_err()
        {
            continue;
        }
        let saved = xtables.save(Family::Ipv4, true);
        let mut again = Xtables::default();
        let options = RestoreOptions { noflush: false, counters: true };
        if let Err(error) = again.restore(&mut Ipset::default(), Family::Ipv4, "saved", &saved, options) {
            panic!("line {}: {error}", case.line);
        }
        assert_eq!(again.save(Family::Ipv4, true), saved, "line {}", case.line);
    }
}

#[test]
fn recordings_are_what_the_real_tools_do() {
    let probe = vec!["iptables-legacy -V && iptables-nft -V".to_owned()];
    if !netns::is_available() {
        return;
    }
    let versions = netns::run(&[probe]).concat().concat();
    if !versions.contains("v1.8.9 (legacy)") || !versions.contains("v1.8.9 (nf_tables)") {
        eprintln!("skipped: the recordings are from iptables 1.8.9, found {versions:?}");
        return;
    }
    let cases = cases();
    let mut differences = String::new();
    for tool in ["legacy", "nft"] {
        // A longer script exceeds the limit of a shell.
        let lists: Vec<Vec<String>> =
            cases.chunks(100).map(|cases| cases.iter().map(|case| command(tool, case)).collect()).collect();
        for (case, said) in cases.iter().zip(netns::run(&lists).concat()) {
            let expected = if tool == "legacy" { &case.legacy } else { &case.nft };
            let found = if said == "refused" { vec![said] } else { kept(&said) };
            if found != *expected {
                _ = writeln!(differences, "line {}, {tool}: {found:?}, not {expected:?}", case.line);
            }
        }
    }
    assert!(differences.is_empty(), "\n{differences}");
}

/// A command that empties the table, restores the text and prints what came of it. Some texts crash the tool, of which a
fn command(tool: &str, case: &Case) -> String {
    let kind = TableKind::from_name(&case.table).unwrap();
    let policies: String =
        kind.hooks().iter().map(|(hook, _)| format!(":{} ACCEPT [0:0]\\n", hook.chain_name())).collect();
    let empty = format!("printf '*{}\\n{policies}COMMIT\\n' | iptables-{tool}-restore", case.table);
    let counters = if case.options.iter().any(|option| option == "--counters") { "-c" } else { "" };
    let quoted = case.text.replace('\'', "'\\''");
    format!(
        "{empty}; if (printf '%s' '{quoted}' | iptables-{tool}-restore {}) >/dev/null 2>&1; \
         then iptables-{tool}-save {counters} -t {} 2>/dev/null; else echo refused; fi",
        case.options.join(" "),
        case.table,
    )
}
