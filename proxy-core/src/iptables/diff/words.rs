//! What a difference means for traffic.

use std::collections::BTreeMap;

use super::dump::{Chains, Rule, chain_kind};
use super::{Finding, FindingKind, Scope};
use crate::iptables::chain_name::ChainKind;
use crate::load::Table;

/// What the absence of a fixed chain or of one of its rules does.
pub(super) fn missing_fixed_chain(chain: &str) -> &'static str {
    match chain {
        "KUBE-FORWARD" => "Service traffic may not be forwarded, or replies may reset connections",
        "KUBE-FIREWALL" => "neighbours can reach what listens on 127.0.0.1 (CVE-2020-8558)",
        "KUBE-POSTROUTING" => "marked packets are not masqueraded as they should be",
        _ => "packets that need masquerade are not marked",
    }
}

pub(super) fn missing_in_shared(table: Table, chain: &str, rule: &Rule) -> String {
    let to = destination(rule);
    match (table, chain) {
        (Table::Nat, "KUBE-SERVICES") if rule.target() == Some("KUBE-NODEPORTS") => {
            "packets to NodePorts are not looked at".to_owned()
        }
        (Table::Nat, _) => format!("packets to {to} are not sent to endpoints"),
        (Table::Filter, "KUBE-NODEPORTS") => format!("health checks to {to} may be kept out"),
        (Table::Filter, "KUBE-PROXY-FIREWALL") => {
            format!("sources that loadBalancerSourceRanges excludes are not dropped at {to}")
        }
        (Table::Filter, _) => format!("packets to {to} should be refused, for nothing serves them here"),
    }
}

pub(super) fn extra_in_shared(table: Table, chain: &str, rule: &Rule) -> String {
    let to = destination(rule);
    match (table, chain) {
        (Table::Nat, "KUBE-SERVICES") if rule.target() == Some("KUBE-NODEPORTS") => {
            format!("packets to {to} are taken for NodePorts")
        }
        (Table::Nat, _) => format!("packets to {to} are sent to {}", rule.target().unwrap_or("nowhere")),
        (Table::Filter, "KUBE-NODEPORTS") => format!("packets to {to} are let in for no health check"),
        (Table::Filter, _) => format!("packets to {to} are refused although they need not be"),
    }
}

pub(super) fn missing_chain(chain: &str, wanted: &[Rule]) -> String {
    match chain_kind(chain) {
        Some(ChainKind::Endpoint) => {
            let endpoint =
                wanted.iter().find_map(|rule| rule.value("--to-destination")).unwrap_or("an endpoint");
            format!("endpoint {endpoint} gets no connections")
        }
        Some(ChainKind::Cluster) => "there is no choice among the endpoints of the cluster".to_owned(),
        Some(ChainKind::Local) => "there is no choice among the endpoints of this node".to_owned(),
        Some(ChainKind::External) => "traffic from outside is not sent to endpoints".to_owned(),
        Some(ChainKind::Firewall) => "traffic to its load balancer is not let through".to_owned(),
        None => "the chain is not there".to_owned(),
    }
}

pub(super) fn stale_chain(chain: &str, loaded: &[Rule], is_referenced: bool) -> String {
    let what = match chain_kind(chain) {
        Some(ChainKind::Endpoint) => {
            let endpoint = loaded.iter().find_map(|rule| rule.value("--to-destination"));
            endpoint.map_or_else(
                || "an endpoint is gone".to_owned(),
                |endpoint| format!("{endpoint} is no endpoint any more"),
            )
        }
        Some(ChainKind::Cluster | ChainKind::Local | ChainKind::External | ChainKind::Firewall) | None => {
            "nothing needs this chain any more".to_owned()
        }
    };
    let reached = if is_referenced { "rules still lead here" } else { "no rule leads here" };
    format!("{what}; {reached}")
}

/// `is_rewritten`: the chain has another rule to the same target.
pub(super) fn missing_in_service_chain(
    chain: &str,
    rule: &Rule,
    wanted: &Chains,
    is_rewritten: bool,
) -> String {
    match chain_kind(chain) {
        Some(ChainKind::Cluster | ChainKind::Local) => match endpoint_choice(rule, wanted) {
            Some(endpoint) if is_rewritten => format!("endpoint {endpoint} is chosen in another way"),
            Some(endpoint) => format!("endpoint {endpoint} gets no connections"),
            None => "packets from outside to the ClusterIP are not masqueraded as they should be".to_owned(),
        },
        Some(ChainKind::Endpoint) if rule.target() == Some("DNAT") => {
            format!(
                "connections are not sent to {}",
                rule.value("--to-destination").unwrap_or("the endpoint")
            )
        }
        Some(ChainKind::Endpoint) => "an endpoint that is sent to itself gets no reply".to_owned(),
        Some(ChainKind::Firewall) => match rule.value("-s") {
            Some(source) => format!("{source} may not use the load balancer"),
            None => "a rule of loadBalancerSourceRanges".to_owned(),
        },
        Some(ChainKind::External) | None => {
            let about = rule.comment().unwrap_or("what no rule before it took goes nowhere");
            about.to_owned()
        }
    }
}

/// `is_rewritten`: the chain should have another rule to the same target.
pub(super) fn extra_in_service_chain(
    chain: &str,
    rule: &Rule,
    loaded: &Chains,
    is_rewritten: bool,
) -> String {
    match chain_kind(chain) {
        Some(ChainKind::Cluster | ChainKind::Local) => match endpoint_choice(rule, loaded) {
            Some(endpoint) if is_rewritten => format!("endpoint {endpoint} is chosen in this way instead"),
            Some(endpoint) => format!("connections may go to {endpoint}, which should get none"),
            None => "packets to the ClusterIP are masqueraded that need not be".to_owned(),
        },
        Some(ChainKind::Endpoint) => "kube-proxy would not have written this for this endpoint".to_owned(),
        Some(ChainKind::Firewall) => match rule.value("-s") {
            Some(source) => format!("{source} may use the load balancer, against loadBalancerSourceRanges"),
            None => "a rule that kube-proxy would not have written".to_owned(),
        },
        Some(ChainKind::External) | None => "a rule that kube-proxy would not have written".to_owned(),
    }
}

/// Instead of a list of everything that a Service lacks or leaves behind: one line for Services that are
/// missing or stale as a whole.
pub(super) fn without_repetition(findings: Vec<Finding>, wanted: &Chains, loaded: &Chains) -> Vec<Finding> {
    let (wanted_services, loaded_services) = (wanted.services(), loaded.services());
    let mut kept: Vec<Finding> = Vec::new();
    let mut whole: BTreeMap<String, Finding> = BTreeMap::new();
    for finding in findings {
        let Scope::Service(name) = &finding.subject else {
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
            let words = format!("nothing of it is loaded ({} rules)", wanted.rule_count(name));
            whole.entry(name.clone()).or_insert_with(|| one(FindingKind::Missing, words));
        } else if !wanted_services.contains(name.as_str()) {
            let words = format!("it is no Service any more, but has {} rules", loaded.rule_count(name));
            whole.entry(name.clone()).or_insert_with(|| one(FindingKind::Stale, words));
        } else {
            kept.push(finding);
        }
    }
    kept.extend(whole.into_values());
    kept.sort();
    kept
}

/// The endpoint that a rule of a choice leads to; `None` for the masquerade rule.
fn endpoint_choice(rule: &Rule, chains: &Chains) -> Option<String> {
    let target = rule.target().filter(|target| chain_kind(target) == Some(ChainKind::Endpoint))?;
    let by_comment = || rule.comment()?.split_once(" -> ").map(|(_, endpoint)| endpoint);
    Some(chains.endpoint(target).or_else(by_comment).unwrap_or(target).to_owned())
}

/// Where packets go that a rule takes.
fn destination(rule: &Rule) -> String {
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
