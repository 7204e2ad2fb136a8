//! Differences of virtual services and their real servers.

use std::net::SocketAddr;

use crate::address::family_of;
use crate::finding::{DumpError, FindingKind, FindingSubject};
use crate::ipvs::services::{VirtualService, restore};
use crate::objects::{IpFamily, Protocol};
use crate::plan::Plan;

use super::Findings;
use super::owners::Owners;
use super::saved_services::{Key, SavedServer, SavedService, SavedServices};

const PLACE: &str = "virtual services";

/// Compares the virtual services of the plan's family.
pub(super) fn compare(
    plan: &Plan,
    owners: &Owners,
    dump: Option<&str>,
    findings: &mut Findings,
) -> Result<(), DumpError> {
    let wanted = wanted(plan);
    let Some(dump) = dump else {
        if !wanted.0.is_empty() {
            findings.nothing_of("virtual services", "ipvsadm -Sn");
        }
        return Ok(());
    };
    let loaded = SavedServices::read(dump)?;
    for (key, wanted) in &wanted.0 {
        match (key, loaded.0.get(key)) {
            (Key::Addr(service), found) => {
                let owner = owners.of_service(service).unwrap_or_default();
                compare_service(service, owner, wanted, found, findings);
            }
            (Key::Mark { .. }, _) => {}
        }
    }
    for (key, found) in loaded.0.iter().filter(|(key, _)| !wanted.0.contains_key(key) && is_of(plan, key)) {
        let words = match found.servers.len() {
            0 => "no Service has it; its connections are refused, because it has no servers".to_owned(),
            1 => "no Service has it; its connections go to one server".to_owned(),
            count => format!("no Service has it; its connections go to {count} servers"),
        };
        let line = format!("-A {key} -s {}", found.scheduler);
        let subject = FindingSubject::VirtualService(key.to_string());
        findings.push(subject, FindingKind::Stale, PLACE, words, Some(line));
    }
    Ok(())
}

/// kube-proxy's own text, which the same reader reads.
fn wanted(plan: &Plan) -> SavedServices {
    let text = restore(plan);
    let services: String =
        text.lines().filter(|line| !line.starts_with("--set ")).map(|line| format!("{line}\n")).collect();
    SavedServices::read(&services).expect("rendered virtual services are valid")
}

/// True if the plan would have no such virtual service: `excludeCIDRs` are for virtual services of others.
fn is_of(plan: &Plan, key: &Key) -> bool {
    match key {
        Key::Addr(service) => {
            family_of(service.address) == plan.family && !plan.node.ipvs.excludes(service.address)
        }
        Key::Mark { is_ipv6, .. } => *is_ipv6 == (plan.family == IpFamily::V6),
    }
}

fn compare_service(
    service: &VirtualService,
    owner: &str,
    wanted: &SavedService,
    found: Option<&SavedService>,
    findings: &mut Findings,
) {
    let Some(found) = found else {
        let words = "IPVS does not handle its connections: the node itself answers or refuses them";
        findings.missing(owner, PLACE, words, format!("-A {service} -s {}", wanted.scheduler));
        return;
    };
    let mut different = |words: String| {
        let line = Some(format!("-A {service} -s {}", found.scheduler));
        findings.push(FindingSubject::Service(owner.to_owned()), FindingKind::Different, PLACE, words, line);
    };
    if wanted.scheduler != found.scheduler {
        different(format!("the scheduler is {} instead of {}", found.scheduler, wanted.scheduler));
    }
    match (&wanted.persistence, &found.persistence) {
        (wanted, found) if wanted == found => {}
        (Some(wanted), Some(found)) => {
            different(format!("clients keep their endpoint for {found} s instead of {wanted} s"));
        }
        (Some(_), None) => {
            different("clients do not keep their endpoint: there is no persistence".to_owned())
        }
        (None, Some(found)) => {
            different(format!(
                "clients keep their endpoint for {found} s although the Service has no session affinity"
            ));
        }
        (None, None) => {}
    }
    for option in wanted.others.difference(&found.others) {
        different(format!("the option {option} is missing"));
    }
    for option in found.others.difference(&wanted.others) {
        different(format!("kube-proxy does not set the option {option}"));
    }
    compare_servers(service, owner, wanted, found, findings);
}

fn compare_servers(
    service: &VirtualService,
    owner: &str,
    wanted: &SavedService,
    found: &SavedService,
    findings: &mut Findings,
) {
    let mut push = |kind, words: String, address: &SocketAddr, server: &SavedServer| {
        let SavedServer { method, weight } = server;
        let line = format!("-a {service} -r {address} {method} -w {weight}");
        findings.push(FindingSubject::Service(owner.to_owned()), kind, PLACE, words, Some(line));
    };
    for (address, server) in &wanted.servers {
        let Some(found) = found.servers.get(address) else {
            push(FindingKind::Missing, format!("endpoint {address} gets no connections"), address, server);
            continue;
        };
        if found.weight != server.weight {
            let words = match found.weight {
                0 => format!("endpoint {address} has weight 0: it gets no new connections"),
                weight => format!("endpoint {address} has weight {weight} instead of {}", server.weight),
            };
            push(FindingKind::Different, words, address, found);
        }
        if found.method != server.method {
            let words = format!(
                "packets reach endpoint {address} untranslated, with destination {}",
                service.address
            );
            push(FindingKind::Different, words, address, found);
        }
    }
    for (address, server) in found.servers.iter().filter(|(address, _)| !wanted.servers.contains_key(address))
    {
        // A server of a removed endpoint, until its connections end.
        if server.weight == 0 && service.protocol == Protocol::Tcp {
            continue;
        }
        let words = match server.weight {
            0 => format!("{address} is not an endpoint any more; it gets no new connections"),
            _ => format!("connections may go to {address}, which is not an endpoint"),
        };
        push(FindingKind::Stale, words, address, server);
    }
}
