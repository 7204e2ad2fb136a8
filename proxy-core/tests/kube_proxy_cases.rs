//! Rule for rule what real kube-proxy v1.31 wrote, for every recorded case.
//!
//! `KUBE_PROXY_CASES=DIR` runs the cases of another folder of the same form.
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a test stops at the first surprise")]

#[path = "support/case.rs"]
mod case;
#[path = "support/compare.rs"]
mod compare;
#[path = "support/manifests.rs"]
mod manifests;
#[path = "support/restore_model.rs"]
mod restore_model;

use case::Case;
use proxy_core::cluster::Cluster;
use proxy_core::iptables;
use proxy_core::objects::{IpFamily, Object};
use proxy_core::plan::Plan;
use restore_model::Ruleset;

fn plan(case: &Case, objects: &[Object], family: IpFamily) -> Plan {
    let cluster = Cluster::new(objects).unwrap_or_else(|error| panic!("{}: {error}", case.name()));
    Plan::new(&cluster, &case.config(objects), family)
}

fn ruleset(text: &str) -> Ruleset {
    let mut rules = Ruleset::default();
    rules.restore(text).unwrap();
    rules
}

/// The state that real kube-proxy left. After an update, `iptables.txt` is the last, partial restore alone; the full
/// one before it stands in `iptables-sync.txt`.
fn recorded(case: &Case, file: &str) -> Ruleset {
    let mut rules = Ruleset::default();
    if case.update.is_some() {
        let syncs = case.recorded(&file.replace(".txt", "-sync.txt"));
        let mut restores: Vec<_> = syncs.split("# --- next restore ---\n").collect();
        restores.pop();
        assert!(!restores.is_empty(), "{}: no restore before the last", case.name());
        for restore in restores {
            rules.restore(restore).unwrap();
        }
    }
    rules.restore(&case.recorded(file)).unwrap();
    rules
}

const FAMILIES: [(IpFamily, &str); 2] = [(IpFamily::V4, "iptables.txt"), (IpFamily::V6, "ip6tables.txt")];

fn differences(case: &Case) -> String {
    let mut report = String::new();
    for (family, file) in FAMILIES {
        let objects = case.update.as_ref().unwrap_or(&case.input);
        let text = iptables::full(&plan(case, objects, family));
        let found = compare::differences(&recorded(case, file), &ruleset(&text.restore));
        for line in found.lines() {
            report += &format!("{}: {file}: {line}\n", case.name());
        }
    }
    let jumps = FAMILIES.map(|(family, _)| iptables::full(&plan(case, &case.input, family)).jumps).concat();
    let recorded = case.recorded("iptables-jumps.txt");
    for (index, (expected, found)) in recorded.lines().zip(&jumps).enumerate() {
        if expected != found {
            report += &format!("{}: jump {}: expected {expected}\n found {found}\n", case.name(), index + 1);
        }
    }
    if recorded.lines().count() != jumps.len() {
        report +=
            &format!("{}: {} jumps instead of {}\n", case.name(), jumps.len(), recorded.lines().count());
    }
    report
}

#[test]
fn kube_proxy_cases() {
    let folders = case::folders();
    let mut failed = 0;
    let mut report = String::new();
    for folder in &folders {
        let found = differences(&Case::read(folder));
        failed += usize::from(!found.is_empty());
        report += &found;
    }
    println!("{} of {} cases agree", folders.len() - failed, folders.len());
    assert!(report.is_empty(), "{failed} of {} cases differ:\n{report}", folders.len());
}
