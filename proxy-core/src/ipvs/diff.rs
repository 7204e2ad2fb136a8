//! Differences between a real node and what kube-proxy loads there in IPVS mode, reported by Service.
//!
//! The input is what the node's tools print: `iptables-save` (or `ip6tables-save`), `ipset save`, `ipvsadm -Sn`, and
//! optionally `ip addr`; in any number of texts.

mod addresses;
mod dumps;
mod owners;
mod rules;
mod saved_services;
mod saved_sets;
mod sets;
mod virtual_services;

use std::collections::BTreeMap;

use crate::finding::{Diff, Finding, FindingKind, FindingSubject};
use crate::plan::Plan;
use dumps::{Dumps, Kind};
use owners::Owners;

pub use dumps::{Dump, DumpFault};

/// The result of a comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparison {
    /// The differences.
    pub diff: Diff,
    /// The dumps have the output of `ip addr`, so that addresses were compared too.
    pub has_addresses: bool,
}

/// Compares what a node should have according to a plan with the dumps of the node.
///
/// No differences: comments, counters, the order of set members, of virtual services and of real servers, the size of hash
/// tables, values that the tools print although they are the default, and real servers with weight 0 that only finish
/// their connections.
///
/// # Errors
/// The first line that no tool prints, or a kind of dump that is given twice.
pub fn compare(plan: &Plan, dumps: &[Dump<'_>]) -> Result<Comparison, DumpFault> {
    let dumps = Dumps::split(plan.family, dumps)?;
    let owners = Owners::new(plan);
    let mut findings = Findings::default();
    rules::compare(plan, dumps.text(Kind::Rules), &mut findings)
        .map_err(|error| dumps.fault(Kind::Rules, error))?;
    sets::compare(plan, &owners, dumps.text(Kind::Sets), &mut findings)
        .map_err(|error| dumps.fault(Kind::Sets, error))?;
    virtual_services::compare(plan, &owners, dumps.text(Kind::Services), &mut findings)
        .map_err(|error| dumps.fault(Kind::Services, error))?;
    let addresses = dumps.text(Kind::Addresses);
    if let Some(text) = addresses {
        addresses::compare(plan, &owners, text, &mut findings)
            .map_err(|error| dumps.fault(Kind::Addresses, error))?;
    }
    let findings = findings.without_repetition(|name| {
        let counts = owners.counts(name);
        let count = |kind, count| dumps.text(kind).map_or(0, |_| count);
        count(Kind::Sets, counts.members) + count(Kind::Services, counts.services)
    });
    Ok(Comparison { diff: Diff { findings }, has_addresses: addresses.is_some() })
}

/// The differences found so far.
#[derive(Debug, Default)]
struct Findings {
    findings: Vec<Finding>,
    /// How many virtual services and set members of a Service are missing.
    missing: BTreeMap<String, usize>,
}

impl Findings {
    fn push(
        &mut self,
        subject: FindingSubject,
        kind: FindingKind,
        place: impl Into<String>,
        words: impl Into<String>,
        line: Option<String>,
    ) {
        let (place, words) = (place.into(), words.into());
        self.findings.push(Finding { subject, kind, place, words, rule: line });
    }

    /// What a Service should have is missing.
    fn missing(&mut self, owner: &str, place: impl Into<String>, words: impl Into<String>, line: String) {
        *self.missing.entry(owner.to_owned()).or_default() += 1;
        let subject = FindingSubject::Service(owner.to_owned());
        self.push(subject, FindingKind::Missing, place, words, Some(line));
    }

    /// No dump has anything of a kind.
    fn nothing_of(&mut self, what: &str, command: &str) {
        let words = format!(
            "the dumps have no {what}: the node has none, or the output of {command} is not among them"
        );
        self.push(FindingSubject::Node, FindingKind::Missing, command, words, None);
    }

    /// Sorted. A Service of which everything is missing has one finding instead of many; `count` is how much it should
    /// have.
    fn without_repetition(self, count: impl Fn(&str) -> usize) -> Vec<Finding> {
        let is_whole = |name: &str| self.missing.get(name) == Some(&count(name));
        let mut findings: Vec<Finding> = Vec::new();
        for finding in self.findings {
            match &finding.subject {
                FindingSubject::Service(name) if is_whole(name) => {}
                FindingSubject::Service(_)
                | FindingSubject::Node
                | FindingSubject::Chain(_)
                | FindingSubject::VirtualService(_) => findings.push(finding),
            }
        }
        for name in self.missing.keys().filter(|name| is_whole(name)) {
            findings.push(Finding {
                subject: FindingSubject::Service(name.clone()),
                kind: FindingKind::Missing,
                place: "all dumps".to_owned(),
                words: "none of its virtual services and set members are loaded".to_owned(),
                rule: None,
            });
        }
        findings.sort();
        findings
    }
}
