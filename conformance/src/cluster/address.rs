//! Addresses in manifests. IPv4 only: IPv6 is not yet executed.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};

use crate::scenario::FieldFault;

/// Reads an IPv4 address; another family is `None`.
///
/// # Errors
/// The text is no address.
pub(super) fn ipv4(text: &str) -> Result<Option<Ipv4Addr>, FieldFault> {
    match text.parse() {
        Ok(IpAddr::V4(address)) => Ok(Some(address)),
        Ok(IpAddr::V6(_)) => Ok(None),
        Err(_) => Err(FieldFault::new(format!("{text:?} is no IP address")).expected("an IP address")),
    }
}

/// Reads an IPv4 network; another family is `None`.
///
/// # Errors
/// The text is no network, or an address inside one.
pub(super) fn ipv4_net(text: &str) -> Result<Option<Ipv4Net>, FieldFault> {
    match text.parse() {
        Ok(IpNet::V4(net)) if net.addr() == net.network() => Ok(Some(net)),
        Ok(IpNet::V4(net)) => {
            let fault = FieldFault::new(format!("{text} is an address inside a network"));
            Err(fault.expected(format!("the network itself, {}", net.trunc())))
        }
        Ok(IpNet::V6(_)) => Ok(None),
        Err(_) => {
            Err(FieldFault::new(format!("{text:?} is no CIDR")).expected("a CIDR such as 10.244.1.0/24"))
        }
    }
}

/// Whether an address of the network can be given to a machine: neither the network's own nor its broadcast address.
pub(super) fn is_host_address(net: Ipv4Net, address: Ipv4Addr) -> bool {
    net.contains(&address)
        && (net.prefix_len() >= 31 || (address != net.network() && address != net.broadcast()))
}

/// The n-th address of a network, from 0; `None` outside of it.
pub(super) fn nth(net: Ipv4Net, index: u32) -> Option<Ipv4Addr> {
    let address = Ipv4Addr::from(u32::from(net.network()).checked_add(index)?);
    net.contains(&address).then_some(address)
}
