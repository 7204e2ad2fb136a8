//! Every recorded case, compared rule by rule with the output of real kube-proxy v1.31.
//!
//! `KUBE_PROXY_CASES=DIR` runs the cases of another folder in the same format.
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a test stops at the first surprise")]

#[path = "support/case.rs"]
mod case;
#[path = "support/commands.rs"]
mod commands;
#[path = "support/compare.rs"]
mod compare;
#[path = "support/ipvs_case.rs"]
mod ipvs_case;
#[path = "support/manifests.rs"]
mod manifests;
#[path = "support/node_model.rs"]
mod node_model;
#[path = "support/restore_model.rs"]
mod restore_model;

use case::Case;
use proxy_core::objects::{IpFamily, Object};
use proxy_core::plan::Plan;
use proxy_core::service_store::ServiceStore;
use proxy_core::{health_check, iptables};
use restore_model::Ruleset;

fn plan(case: &Case, objects: &[Object], family: IpFamily) -> Plan {
    let store = ServiceStore::new(objects).unwrap_or_else(|error| panic!("{}: {error}", case.name()));
    Plan::new(&store, &case.config(objects), family)
}

fn ruleset(text: &str) -> Ruleset {
    let mut rules = Ruleset::default();
    rules.restore(text).unwrap();
    rules
}

/// The final state of real kube-proxy. After an update, `iptables.txt` contains only the last, partial restore; the
/// full one before it is in `iptables-sync.txt`.
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

/// The recorded families, with their files.
fn families(case: &Case) -> Vec<(IpFamily, &'static str)> {
    let all = [(IpFamily::V4, "iptables.txt"), (IpFamily::V6, "ip6tables.txt")];
    let families: Vec<_> = all.into_iter().filter(|(_, file)| case.folder.join(file).is_file()).collect();
    assert!(!families.is_empty(), "{} has no rules to compare with", case.name());
    families
}

fn differences(case: &Case) -> String {
    let mut report = String::new();
    for (family, file) in families(case) {
        let recorded = recorded(case, file);
        let before = plan(case, &case.input, family);
        let mut states = Vec::new();
        let mut rules = ruleset(&iptables::restore(&before));
        if let Some(update) = &case.update {
            let after = plan(case, update, family);
            states.push(("full rules after the update", ruleset(&iptables::restore(&after))));
            rules.restore(&iptables::sync::between(&before, &after)).unwrap();
            states.push(("full rules, then the sync", rules));
        } else {
            states.push(("full rules", rules));
        }
        for (how, found) in states {
            for line in compare::differences(&recorded, &found).lines() {
                report += &format!("{}: {file}: {how}: {line}\n", case.name());
            }
        }
    }
    report += &(jump_differences(case) + &sync_differences(case) + &health_differences(case));
    report + &ipvs_case::differences(case)
}

/// Our sync may be smaller than kube-proxy's, never larger: it writes no chain that kube-proxy did not write.
fn sync_differences(case: &Case) -> String {
    let mut report = String::new();
    let Some(update) = &case.update else { return report };
    for (family, file) in families(case) {
        let sync = iptables::sync::between(&plan(case, &case.input, family), &plan(case, update, family));
        let theirs = case.recorded(file);
        for line in sync.lines().filter(|line| line.starts_with(':') || line.starts_with("-X")) {
            if !theirs.lines().any(|recorded| recorded == line) {
                report += &format!("{}: {file}: surplus in the sync: {line}\n", case.name());
            }
        }
    }
    report
}

/// Responses of the healthCheckNodePort server.
fn health_differences(case: &Case) -> String {
    let recorded: serde_json::Value = serde_json::from_str(&case.recorded("health.json")).unwrap();
    let objects = case.update.as_ref().unwrap_or(&case.input);
    let mut report = String::new();
    for (family, key) in [(IpFamily::V4, "IPv4"), (IpFamily::V6, "IPv6")] {
        let mut ports = serde_json::Map::new();
        let mut endpoints = serde_json::Map::new();
        for (service, check) in health_check::health_checks(&plan(case, objects, family)) {
            ports.insert(service.to_string(), check.port.into());
            if check.local_endpoints > 0 {
                endpoints.insert(service.to_string(), check.local_endpoints.into());
            }
        }
        let found = serde_json::json!({"Services": ports, "Endpoints": endpoints});
        if found != recorded[key] {
            report += &format!("{}: health {key}: expected {}, found {found}\n", case.name(), recorded[key]);
        }
    }
    report
}

fn jump_differences(case: &Case) -> String {
    let mut report = String::new();
    let of_family = |(family, _)| commands::ensured(&plan(case, &case.input, family));
    let ensured = families(case).into_iter().flat_map(of_family);
    let jumps: Vec<_> = ensured.map(|ensure| ensure.command()).collect();
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

/// Proves that the comparison can fail: every single change of a recording is detected.
#[test]
fn every_changed_missing_extra_or_reordered_rule_is_seen() {
    for folder in case::folders().iter().take(20) {
        let case = Case::read(folder);
        for (_, file) in families(&case) {
            let recorded = recorded(&case, file);
            assert_eq!(compare::differences(&recorded, &recorded), "");
            for (table, chain, rules) in recorded.clone().chains_mut() {
                let place = format!("{}: {file}: {table} {chain}", case.name());
                let check = |what: &str, mutated: Vec<String>| {
                    let found = compare::differences(&recorded, &recorded.with(table, chain, Some(mutated)));
                    assert!(found.contains(chain.as_str()), "{place}: {what} is not detected");
                };
                for index in 0..rules.len() {
                    let edited = |edit: &dyn Fn(&mut Vec<String>)| {
                        let mut copy = rules.clone();
                        edit(&mut copy);
                        copy
                    };
                    check("a missing rule", edited(&|rules| drop(rules.remove(index))));
                    check("an extra rule", edited(&|rules| rules.insert(index, rules[index].clone())));
                    check("a changed rule", edited(&|rules| rules[index].push('0')));
                    check(
                        "a negation",
                        edited(&|rules| rules[index] = rules[index].replacen("-m", "! -m", 1) + " "),
                    );
                    if index > 0
                        && rules[index] != rules[index - 1]
                        && !is_unordered(&rules[index - 1..=index])
                    {
                        check("a swap", edited(&|rules| rules.swap(index - 1, index)));
                    }
                }
                let without = recorded.with(table, chain, None);
                assert!(compare::differences(&recorded, &without).contains("missing"), "{place}");
                assert!(compare::differences(&without, &recorded).contains("extra"), "{place}");
            }
        }
    }
}

/// The same for IPVS mode; changes of its rules are detected as those of iptables mode are.
#[test]
fn every_change_of_sets_and_virtual_services_is_seen() {
    let folders = case::folders();
    let with_ipvs = folders.iter().filter(|folder| folder.join("ipvs.json").is_file()).take(20);
    let (cases, changes) = with_ipvs.fold((0, 0), |(cases, changes), folder| {
        (cases + 1, changes + ipvs_case::check_changes_are_seen(&Case::read(folder)))
    });
    assert!(cases == 0 || changes > cases, "{changes} changes in {cases} cases");
}

/// The one arbitrary order: the node's addresses at the end of KUBE-SERVICES.
fn is_unordered(rules: &[String]) -> bool {
    rules.iter().all(|rule| rule.contains("NOTE: this must be the last rule") && rule.contains(" -d "))
}
