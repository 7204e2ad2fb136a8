//! What the status of a Pod says.

use std::net::Ipv4Addr;

use proxy_core::objects;

use super::address::ipv4;
use crate::scenario::FieldFault;

/// True if the Pod has terminated.
pub(super) fn is_finished(pod: &objects::Pod) -> bool {
    matches!(pod.status.phase.as_str(), "Succeeded" | "Failed")
}

/// The first IPv4 address in a Pod's status, and its path.
pub(super) fn named_ip(pod: &objects::Pod) -> Result<Option<(String, Ipv4Addr)>, FieldFault> {
    let single = ("status.podIP".to_owned(), &pod.status.pod_ip);
    let list = pod.status.pod_ips.iter().enumerate();
    let list = list.map(|(index, ip)| (format!("status.podIPs[{index}].ip"), &ip.ip));
    for (path, text) in std::iter::once(single).chain(list).filter(|(_, text)| !text.is_empty()) {
        if let Some(ip) = ipv4(text).map_err(|fault| fault.at(&*path))? {
            return Ok(Some((path, ip)));
        }
    }
    Ok(None)
}
