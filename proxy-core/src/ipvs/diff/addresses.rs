//! Differences of the addresses of `kube-ipvs0`.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::address::family_of;
use crate::finding::{DumpError, FindingKind, FindingSubject};
use crate::ipvs::DEVICE;
use crate::ipvs::set_table::{Member, SetId};
use crate::plan::Plan;

use super::Findings;
use super::owners::Owners;

/// Compares the addresses of the device. Missing ones do not count for whether all of a Service is missing: the output of
/// `ip addr` is optional.
pub(super) fn compare(
    plan: &Plan,
    owners: &Owners,
    dump: &str,
    findings: &mut Findings,
) -> Result<(), DumpError> {
    let place = format!("device {DEVICE}");
    let Some(found) = addresses(dump)? else {
        let words = "the device is missing: the node does not accept packets to VIPs from other machines";
        findings.push(FindingSubject::Node, FindingKind::Missing, place, words, None);
        return Ok(());
    };
    let mut wanted = BTreeSet::new();
    for (member, owner) in owners.members(SetId::IpvsIps) {
        let Member::Address(address) = member else { continue };
        wanted.insert(*address);
        if !found.contains(address) {
            let words = format!("packets to {address} are forwarded or refused instead of delivered to IPVS");
            let subject = FindingSubject::Service(owner.clone());
            findings.push(subject, FindingKind::Missing, &*place, words, Some(address.to_string()));
        }
    }
    for address in found.difference(&wanted).filter(|address| family_of(**address) == plan.family) {
        let words = format!("the node accepts packets to {address}, which is not an address of a Service");
        findings.push(FindingSubject::Node, FindingKind::Extra, &*place, words, Some(address.to_string()));
    }
    Ok(())
}

/// The addresses of the device without link-local ones; `None` if there is no such device. Both forms of `ip addr` are
/// understood: one line for each device and address, and one line for each address (`-o`).
fn addresses(dump: &str) -> Result<Option<BTreeSet<IpAddr>>, DumpError> {
    let mut found = None;
    let mut is_device = false;
    for (index, line) in dump.lines().enumerate() {
        let mut words = line.split_ascii_whitespace().peekable();
        if !line.starts_with(' ') && !line.is_empty() {
            words.next();
            let name = words.next().unwrap_or_default();
            is_device = name.trim_end_matches(':') == DEVICE;
        }
        if !is_device {
            continue;
        }
        let found = found.get_or_insert_with(BTreeSet::new);
        if words.next_if(|word| ["inet", "inet6"].contains(word)).is_some() {
            let word = words.next().unwrap_or_default();
            let address: Option<IpAddr> = word.split('/').next().and_then(|word| word.parse().ok());
            let address =
                address.ok_or_else(|| DumpError::in_line(index, line, "an address after inet or inet6"))?;
            if !matches!(address, IpAddr::V6(address) if address.is_unicast_link_local()) {
                found.insert(address);
            }
        }
    }
    Ok(found)
}
