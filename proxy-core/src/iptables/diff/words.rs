//! The effect of differences on traffic.

use std::collections::BTreeMap;

use super::dump::{SavedChains, chain_kind};
use super::saved_rule::SavedRule;
use crate::finding::{Finding, FindingKind, FindingSubject};
use crate::iptables::chain_name::ChainKind;
use crate::load::Table;

/// The effect of a missing fixed chain or of a missing rule in it.
pub(super) fn missing_fixed_chain(chain: &str) -> &'static str {
    match chain {
        "KUBE-FORWARD" => "Service traffic may not be forwarded, or replies may reset connections",
        "KUBE-FIREWALL" => "neighbours can reach services on 127.0.0.1 (CVE-2020-8558)",
        "KUBE-POSTROUTING" => "marked packets are not masqueraded correctly",
        _ => "packets that need masquerade are not marked",
    }
}

pub(super) fn missing_in_shared(table: Table, chain: &str, rule: &SavedRule) -> String {
    let to = destination(rule);
    match (table, chain) {
        (Table::Nat, "KUBE-SERVICES") if rule.target() == Some("KUBE-NODEPORTS") => {
            "packets to NodePorts are not handled".to_owned()
        }
        (Table::Nat, _) => format!("packets to {to} are not sent to endpoints"),
        (Table::Filter, "KUBE-NODEPORTS") => format!("health checks to {to} may be blocked"),
        (Table::Filter, "KUBE-PROXY-FIREWALL") => {
            format!("sources that loadBalancerSourceRanges excludes are not dropped at {to}")
        }
        (Table::Filter, _) => {
            format!("packets to {to} are not rejected although no endpoint serves them here")
        }
    }
}

pub(super) fn extra_in_shared(table: Table, chain: &str, rule: &SavedRule) -> String {
    let to = destination(rule);
    match (table, chain) {
        (Table::Nat, "KUBE-SERVICES") if rule.target() == Some("KUBE-NODEPORTS") => {
            format!("packets to {to} are handled as NodePort traffic")
        }
        (Table::Nat, _) => format!("packets to {to} are sent to {}", rule.target().unwrap_or("nowhere")),
        (Table::Filter, "KUBE-NODEPORTS") => format!("packets to {to} are accepted without a health check"),
        (Table::Filter, _) => format!("packets to {to} are rejected although endpoints serve them"),
    }
}

pub(super) fn missing_chain(chain: &str, wanted: &[SavedRule]) -> String {
    match chain_kind(chain) {
        Some(ChainKind::Endpoint) => {
            let endpoint =
                wanted.iter().find_map(|rule| rule.value("--to-destination")).unwrap_or("an endpoint");
            format!("endpoint {endpoint} gets no connections")
        }
        Some(ChainKind::Cluster) => "traffic is not balanced over the endpoints of the cluster".to_owned(),
        Some(ChainKind::Local) => "traffic is not balanced over the endpoints of this node".to_owned(),
        Some(ChainKind::External) => "external traffic is not sent to endpoints".to_owned(),
        Some(ChainKind::Firewall) => "traffic to its load balancer is not accepted".to_owned(),
        None => "the chain is missing".to_owned(),
    }
}

pub(super) fn stale_chain(chain: &str, loaded: &[SavedRule], is_referenced: bool) -> String {
    let what = match chain_kind(chain) {
        Some(ChainKind::Endpoint) => {
            let endpoint = loaded.iter().find_map(|rule| rule.value("--to-destination"));
            endpoint.map_or_else(
                || "an endpoint was removed".to_owned(),
                |endpoint| format!("{endpoint} is not an endpoint any more"),
            )
        }
        Some(ChainKind::Cluster | ChainKind::Local | ChainKind::External | ChainKind::Firewall) | None => {
            "this chain is not needed any more".to_owned()
        }
    };
    let reached = if is_referenced { "rules still jump to it" } else { "no rule jumps to it" };
    format!("{what}; {reached}")
}

/// `is_rewritten`: the chain has another rule to the same target.
pub(super) fn missing_in_service_chain(
    chain: &str,
    rule: &SavedRule,
    wanted: &SavedChains,
    is_rewritten: bool,
) -> String {
    match chain_kind(chain) {
        Some(ChainKind::Cluster | ChainKind::Local) => match endpoint_choice(rule, wanted) {
            Some(endpoint) if is_rewritten => format!("endpoint {endpoint} is selected by a different rule"),
            Some(endpoint) => format!("endpoint {endpoint} gets no connections"),
            None => "external traffic to the ClusterIP is not masqueraded correctly".to_owned(),
        },
        Some(ChainKind::Endpoint) if rule.target() == Some("DNAT") => {
            format!(
                "connections are not sent to {}",
                rule.value("--to-destination").unwrap_or("the endpoint")
            )
        }
        Some(ChainKind::Endpoint) => "connections from an endpoint to itself get no reply".to_owned(),
        Some(ChainKind::Firewall) => match rule.value("-s") {
            Some(source) => format!("{source} cannot use the load balancer"),
            None => "a rule of loadBalancerSourceRanges".to_owned(),
        },
        Some(ChainKind::External) | None => {
            let about = rule.comment().unwrap_or("packets that no earlier rule matches are not handled");
            about.to_owned()
        }
    }
}

/// `is_rewritten`: the chain should have another rule to the same target.
pub(super) fn extra_in_service_chain(
    chain: &str,
    rule: &SavedRule,
    loaded: &SavedChains,
    is_rewritten: bool,
) -> String {
    match chain_kind(chain) {
        Some(ChainKind::Cluster | ChainKind::Local) => match endpoint_choice(rule, loaded) {
            Some(endpoint) if is_rewritten => format!("endpoint {endpoint} is selected by this rule instead"),
            Some(endpoint) => format!("connections may go to {endpoint}, which should not receive any"),
            None => "traffic to the ClusterIP is masqueraded unnecessarily".to_owned(),
        },
        Some(ChainKind::Endpoint) => "not a rule of kube-proxy for this endpoint".to_owned(),
        Some(ChainKind::Firewall) => match rule.value("-s") {
            Some(source) => format!("{source} can use the load balancer despite loadBalancerSourceRanges"),
            None => "not a rule of kube-proxy".to_owned(),
        },
        Some(ChainKind::External) | None => "not a rule of kube-proxy".to_owned(),
    }
}

/// Reports a Service that is missing or stale as a whole in one line, in place of one finding per rule.
pub(super) fn without_repetition(
    findings: Vec<Finding>,
    wanted: &SavedChains,
    loaded: &SavedChains,
) -> Vec<Finding> {
    let (wanted_services, loaded_services) = (wanted.services(), loaded.services());
    let mut kept: Vec<Finding> = Vec::new();
    let mut whole: BTreeMap<String, Finding> = BTreeMap::new();
    for finding in findings {
        let FindingSubject::Service(name) = &finding.subject else {
            kept.push(finding);
            continue;
        };
        let one = |kind, words| Finding {
            subject: finding.subject.clone(),
            kind,
            place: "all chains".to_owned(),
            words,
            rule: None,
        };
        if !loaded_services.contains(name.as_str()) {
            let words = format!("none of its {} rules are loaded", wanted.rule_count(name));
            whole.entry(name.clone()).or_insert_with(|| one(FindingKind::Missing, words));
        } else if !wanted_services.contains(name.as_str()) {
            let words = format!("the Service was removed, but still has {} rules", loaded.rule_count(name));
            whole.entry(name.clone()).or_insert_with(|| one(FindingKind::Stale, words));
        } else {
            kept.push(finding);
        }
    }
    kept.extend(whole.into_values());
    kept.sort();
    kept
}

/// The endpoint that a load-balancing rule leads to; `None` for the masquerade rule.
fn endpoint_choice(rule: &SavedRule, chains: &SavedChains) -> Option<String> {
    let target = rule.target().filter(|target| chain_kind(target) == Some(ChainKind::Endpoint))?;
    let by_comment = || rule.comment()?.split_once(" -> ").map(|(_, endpoint)| endpoint);
    Some(chains.endpoint(target).or_else(by_comment).unwrap_or(target).to_owned())
}

/// The destination of the packets that a rule matches.
fn destination(rule: &SavedRule) -> String {
    let protocol = rule.value("-p").unwrap_or("any protocol");
    let address = rule.value("-d").map(|address| address.trim_end_matches("/32").trim_end_matches("/128"));
    match (address, rule.value("--dport")) {
        (Some(address), Some(port)) if address.contains(':') => format!("[{address}]:{port}/{protocol}"),
        (Some(address), Some(port)) => format!("{address}:{port}/{protocol}"),
        (Some(address), None) => address.to_owned(),
        (None, Some(port)) => format!("port {port}/{protocol} of the node"),
        (None, None) => "the node".to_owned(),
    }
}
