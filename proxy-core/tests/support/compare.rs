//! Compares two rule sets and describes the differences.
#![allow(dead_code, reason = "each test uses its part of this")]

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::restore_model::Ruleset;

/// The differences as text; empty if there are none.
pub(crate) fn differences(expected: &Ruleset, found: &Ruleset) -> String {
    let mut report = String::new();
    for table in ["filter", "nat"] {
        let expected: std::collections::BTreeMap<_, _> = expected.table(table).collect();
        let found: std::collections::BTreeMap<_, _> = found.table(table).collect();
        let chains: BTreeSet<_> = expected.keys().chain(found.keys()).collect();
        for chain in chains {
            match (expected.get(*chain), found.get(*chain)) {
                (Some(_), None) => writeln!(report, "{table} {chain}: chain is missing").unwrap(),
                (None, Some(_)) => writeln!(report, "{table} {chain}: chain is extra").unwrap(),
                (Some(expected), Some(found)) => {
                    compare_chain(&mut report, table, chain, &normalized(expected), &normalized(found));
                }
                (None, None) => unreachable!("the chain comes from one of the two"),
            }
        }
    }
    report
}

/// kube-proxy takes the node's addresses from a Go map: their rules at the end of KUBE-SERVICES have an arbitrary
/// order.
fn normalized(rules: &[String]) -> Vec<String> {
    let is_tail = |rule: &String| rule.contains("NOTE: this must be the last rule in this chain");
    let tail = rules.iter().rev().take_while(|rule| is_tail(rule)).count();
    let mut rules = rules.to_vec();
    let start = rules.len() - tail;
    rules[start..].sort();
    // In IPVS mode, one chain has a rule for each of several Services, and nothing else.
    if rules.iter().all(|rule| rule.contains("-m ipvs ")) {
        rules.sort();
    }
    rules
}

fn compare_chain(report: &mut String, table: &str, chain: &str, expected: &[String], found: &[String]) {
    if expected == found {
        return;
    }
    let mut unmatched = found.to_vec();
    let mut missing = Vec::new();
    for rule in expected {
        match unmatched.iter().position(|other| other == rule) {
            Some(index) => drop(unmatched.remove(index)),
            None => missing.push(rule),
        }
    }
    for rule in &missing {
        writeln!(report, "{table} {chain}: missing: {rule}").unwrap();
    }
    for rule in &unmatched {
        writeln!(report, "{table} {chain}: extra:   {rule}").unwrap();
    }
    if missing.is_empty() && unmatched.is_empty() {
        let index = expected.iter().zip(found).position(|(left, right)| left != right).unwrap();
        writeln!(report, "{table} {chain}: order differs from rule {}:", index + 1).unwrap();
        writeln!(report, "  expected {}", expected[index]).unwrap();
        writeln!(report, "  found    {}", found[index]).unwrap();
    }
}
