//! Differences of sets.

use std::collections::BTreeMap;

use crate::finding::{DumpError, FindingKind, FindingSubject};
use crate::ipvs::set_table::SetId;
use crate::objects::IpFamily;
use crate::plan::Plan;

use super::Findings;
use super::owners::Owners;
use super::saved_sets::{SavedSet, SavedSets, canonical};

/// Compares the sets of kube-proxy; other sets are not its business.
pub(super) fn compare(
    plan: &Plan,
    owners: &Owners,
    dump: Option<&str>,
    findings: &mut Findings,
) -> Result<(), DumpError> {
    let Some(dump) = dump else {
        findings.nothing_of("sets", "ipset save");
        return Ok(());
    };
    let mut loaded = SavedSets::read(dump)?;
    for set in SetId::all() {
        let name = set.name(plan.family);
        match loaded.0.remove(name) {
            Some(found) => compare_set(plan.family, set, owners, &found, findings),
            None => {
                let words = "the set is missing: rules that match it cannot be loaded";
                let line = create_line(set, plan.family);
                findings.push(FindingSubject::Node, FindingKind::Missing, place(name), words, Some(line));
            }
        }
    }
    let of_family = |name: &&String| match plan.family {
        IpFamily::V4 => name.starts_with("KUBE-") && !name.starts_with("KUBE-6-"),
        IpFamily::V6 => name.starts_with("KUBE-6-"),
    };
    for name in loaded.0.keys().filter(of_family) {
        let words = "not a set of this release of kube-proxy";
        findings.push(FindingSubject::Node, FindingKind::Extra, place(name), words, None);
    }
    Ok(())
}

fn compare_set(family: IpFamily, set: SetId, owners: &Owners, found: &SavedSet, findings: &mut Findings) {
    let name = set.name(family);
    let create = create_line(set, family);
    let wanted = SavedSets::read(&create).expect("a set of kube-proxy is valid");
    if let Some(wanted) = wanted.0.get(name).filter(|wanted| wanted.header != found.header) {
        let words = format!("the set is `{}` instead of `{}`", found.header, wanted.header);
        findings.push(FindingSubject::Node, FindingKind::Different, place(name), words, Some(create));
    }
    let [if_missing, if_extra] = effects(set);
    let wanted: BTreeMap<String, &String> =
        owners.members(set).iter().map(|(member, owner)| (canonical(&member.to_string()), owner)).collect();
    for (member, owner) in wanted.iter().filter(|(member, _)| !found.members.contains(*member)) {
        let line = format!("add {name} {member}");
        findings.missing(owner, place(name), if_missing.replace('%', member), line);
    }
    for member in found.members.iter().filter(|member| !wanted.contains_key(*member)) {
        let words = if_extra.replace('%', member);
        let line = format!("add {name} {member}");
        findings.push(FindingSubject::Node, FindingKind::Extra, place(name), words, Some(line));
    }
}

fn place(name: &str) -> String {
    format!("set {name}")
}

fn create_line(set: SetId, family: IpFamily) -> String {
    let mut text = String::new();
    set.write_create(&mut text, family);
    text.trim_end().to_owned()
}

/// The effect of a missing and of an extra member; `%` stands for the member.
const fn effects(set: SetId) -> [&'static str; 2] {
    match set {
        SetId::LoopBack => [
            "a connection of this endpoint to itself through a Service is not masqueraded: it gets no reply",
            "what comes from and goes to this address is masqueraded although it is not an endpoint of this node",
        ],
        SetId::ClusterIp | SetId::ExternalIp | SetId::ExternalIpLocal | SetId::LoadBalancer => [
            "new connections to % are rejected, because the node has the address but no set has the port",
            "connections to % are accepted although no Service has this address and port",
        ],
        SetId::LoadBalancerFw => [
            "sources that loadBalancerSourceRanges excludes are not dropped at %",
            "sources of % are filtered although it has no loadBalancerSourceRanges",
        ],
        SetId::LoadBalancerLocal => [
            "the source address of connections to % is masqueraded despite externalTrafficPolicy Local",
            "connections to % are not masqueraded: endpoints on other nodes reply past this node",
        ],
        SetId::LoadBalancerSourceIp => [
            "the node itself cannot use the load balancer although loadBalancerSourceRanges contains its address",
            "the node itself can use the load balancer despite loadBalancerSourceRanges",
        ],
        SetId::LoadBalancerSourceCidr => [
            "this source cannot use the load balancer although loadBalancerSourceRanges contains it",
            "this source can use the load balancer despite loadBalancerSourceRanges",
        ],
        SetId::NodePortTcp | SetId::NodePortUdp | SetId::NodePortSctp => [
            "connections to NodePort % are not masqueraded: endpoints on other nodes reply past this node",
            "connections to port % are masqueraded although it is not a NodePort",
        ],
        SetId::NodePortLocalTcp | SetId::NodePortLocalUdp | SetId::NodePortLocalSctp => [
            "the source address of connections to NodePort % is masqueraded despite externalTrafficPolicy Local",
            "connections to NodePort % are not masqueraded: endpoints on other nodes reply past this node",
        ],
        SetId::HealthCheckNodePort => [
            "load balancer health checks to port % may be blocked",
            "connections to port % are accepted although it is not a health check port",
        ],
        SetId::IpvsIps => [
            "% answers at the ports of the node's own processes",
            "new connections to % are rejected, except to ports of Services",
        ],
    }
}
