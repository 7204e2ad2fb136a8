//! Differences of iptables rules.

use crate::finding::{DumpError, FindingKind, FindingSubject};
use crate::iptables::diff::Differences;
use crate::iptables::diff::dump::SavedChains;
use crate::iptables::diff::saved_rule::SavedRule;
use crate::ipvs::jumps::{FILTER_CHAINS, NAT_CHAINS, ensured};
use crate::ipvs::members::closed_to_the_node;
use crate::ipvs::rules::{Inputs, tables};
use crate::ipvs::sets::Sets;
use crate::load::Table;
use crate::plan::Plan;

use super::Findings;

/// The chains of kube-proxy, with the effect of a missing rule.
const CHAINS: [(Table, &str, &str); 11] = [
    (Table::Nat, "KUBE-SERVICES", "packets to Services are not masqueraded as they should be"),
    (
        Table::Nat,
        "KUBE-POSTROUTING",
        "marked packets, or connections of endpoints to themselves, are not masqueraded",
    ),
    (Table::Nat, "KUBE-NODE-PORT", "packets to NodePorts are not masqueraded as they should be"),
    (Table::Nat, "KUBE-LOAD-BALANCER", "packets to load balancers are not masqueraded as they should be"),
    (Table::Nat, "KUBE-MARK-MASQ", "packets that need masquerade are not marked"),
    (Table::Filter, "KUBE-FORWARD", "Service traffic may not be forwarded"),
    (Table::Filter, "KUBE-NODE-PORT", "load balancer health checks may be blocked"),
    (Table::Filter, "KUBE-PROXY-FIREWALL", "sources that loadBalancerSourceRanges excludes are not dropped"),
    (
        Table::Filter,
        "KUBE-SOURCE-RANGES-FIREWALL",
        "loadBalancerSourceRanges admits other sources than it should",
    ),
    (Table::Filter, "KUBE-IPVS-FILTER", "VIPs may reach processes of the node, or Services may be rejected"),
    (
        Table::Filter,
        "KUBE-IPVS-OUT-FILTER",
        "the node itself can use load balancers despite loadBalancerSourceRanges",
    ),
];

/// Compares the chains of kube-proxy and the jumps to them.
pub(super) fn compare(plan: &Plan, dump: Option<&str>, findings: &mut Findings) -> Result<(), DumpError> {
    let Some(dump) = dump else {
        findings.nothing_of("rules", "iptables-save");
        return Ok(());
    };
    check_tables(dump)?;
    let loaded = SavedChains::read_dump(dump, plan.family)?;
    let wanted = wanted(plan);
    for (table, chain, rules) in wanted.built_in() {
        let loaded = loaded.rules(table, chain);
        for rule in rules.iter().filter(|rule| !loaded.contains(rule)) {
            let words = format!("packets in {chain} do not reach {}", rule.target().unwrap_or_default());
            push(findings, FindingKind::Missing, table, chain, &words, Some(rule));
        }
    }
    for (table, chain, effect) in CHAINS {
        if !loaded.has(table, chain) {
            push(
                findings,
                FindingKind::Missing,
                table,
                chain,
                &format!("the chain is missing: {effect}"),
                None,
            );
            continue;
        }
        let differences = Differences::between(wanted.rules(table, chain), loaded.rules(table, chain));
        for rule in differences.missing {
            push(findings, FindingKind::Missing, table, chain, effect, Some(rule));
        }
        for rule in differences.extra {
            push(
                findings,
                FindingKind::Extra,
                table,
                chain,
                "not a rule of kube-proxy in mode ipvs",
                Some(rule),
            );
        }
        if differences.is_reordered {
            push(findings, FindingKind::Misplaced, table, chain, "the rules stand in another order", None);
        }
    }
    let left: Vec<&str> = loaded.of_services().map(|(chain, _)| chain).collect();
    if let [first, ..] = &*left {
        let words =
            format!("{} chains of mode iptables are left; kube-proxy --cleanup removes them", left.len());
        push(findings, FindingKind::Stale, Table::Nat, first, &words, None);
    }
    Ok(())
}

fn wanted(plan: &Plan) -> SavedChains {
    debug_assert_eq!(CHAINS.len(), NAT_CHAINS.len() + FILTER_CHAINS.len());
    let closed: Vec<_> = plan.services.values().flat_map(|service| closed_to_the_node(service)).collect();
    let filled = Sets::new(plan).filled();
    let inputs = Inputs { family: plan.family, node: &plan.node, filled, closed_to_the_node: &closed };
    SavedChains::of_rules(plan.family, &tables(&inputs), ensured(plan.family))
}

/// A second table of the same name would come from another back end of iptables.
fn check_tables(dump: &str) -> Result<(), DumpError> {
    let mut seen = Vec::new();
    for (index, line) in dump.lines().enumerate().filter(|(_, line)| line.starts_with('*')) {
        if seen.contains(&line) {
            let expected = "each table once: iptables-save of one back end and one address family";
            return Err(DumpError::in_line(index, line, expected));
        }
        seen.push(line);
    }
    Ok(())
}

fn push(
    findings: &mut Findings,
    kind: FindingKind,
    table: Table,
    chain: &str,
    words: &str,
    rule: Option<&SavedRule>,
) {
    let line = rule.map(|rule| format!("-A {chain} {rule}"));
    findings.push(FindingSubject::Node, kind, format!("{table} {chain}"), words, line);
}
