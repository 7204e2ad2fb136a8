//! Addresses in manifests. IPv4 only: IPv6 is not implemented yet.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};

use crate::scenario::FieldFault;

/// Parses an IPv4 address; `None` for IPv6.
///
/// # Errors
/// If the text is not a valid address.
pub(super) fn ipv4(text: &str) -> Result<Option<Ipv4Addr>, FieldFault> {
    match text.parse() {
        Ok(IpAddr::V4(address)) => Ok(Some(address)),
        Ok(IpAddr::V6(_)) => Ok(None),
        Err(_) => Err(FieldFault::new(format!("invalid IP address {text:?}")).expected("an IP address")),
    }
}

/// Parses an IPv4 network; `None` for IPv6.
///
/// # Errors
/// If the text is not a valid network, or has host bits set.
pub(super) fn ipv4_net(text: &str) -> Result<Option<Ipv4Net>, FieldFault> {
    match text.parse() {
        Ok(IpNet::V4(net)) if net.addr() == net.network() => Ok(Some(net)),
        Ok(IpNet::V4(net)) => {
            let fault = FieldFault::new(format!("{text} has host bits set"));
            Err(fault.expected(format!("the network address, {}", net.trunc())))
        }
        Ok(IpNet::V6(_)) => Ok(None),
        Err(_) => {
            Err(FieldFault::new(format!("invalid CIDR {text:?}")).expected("a CIDR such as 10.244.1.0/24"))
        }
    }
}

/// True if the address can be assigned to a host: it is neither the network nor the broadcast address.
pub(super) fn is_host_address(net: Ipv4Net, address: Ipv4Addr) -> bool {
    net.contains(&address)
        && (net.prefix_len() >= 31 || (address != net.network() && address != net.broadcast()))
}

/// The n-th address of a network, from 0; `None` if out of range.
pub(super) fn nth(net: Ipv4Net, index: u32) -> Option<Ipv4Addr> {
    let address = Ipv4Addr::from(u32::from(net.network()).checked_add(index)?);
    net.contains(&address).then_some(address)
}
