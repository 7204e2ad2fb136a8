//! Parses addresses as kube-proxy does.
//!
//! Like older Go versions, Kubernetes still accepts leading zeros in IPv4 octets and reads them as decimal
//! (k8s.io/utils/net `ParseIPSloppy`, `ParseCIDRSloppy`). Addresses are printed in canonical form.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use crate::objects::IpFamily;

/// Parses an address; `None` if it is invalid. IPv4-mapped IPv6 addresses become IPv4, as in Go.
pub(crate) fn parse_ip(text: &str) -> Option<IpAddr> {
    if !text.contains(':') {
        return parse_ipv4(text).map(IpAddr::V4);
    }
    let address: Ipv6Addr = match text.rsplit_once(':') {
        Some((head, tail)) if tail.contains('.') => format!("{head}:{}", parse_ipv4(tail)?).parse().ok()?,
        Some(_) | None => text.parse().ok()?,
    };
    Some(IpAddr::V6(address).to_canonical())
}

/// Parses a CIDR and clears its host bits; `None` if it is invalid.
pub(crate) fn parse_cidr(text: &str) -> Option<IpNet> {
    let (address, length) = text.split_once('/')?;
    let address = if address.contains(':') {
        IpAddr::V6(address.parse().ok()?)
    } else {
        IpAddr::V4(parse_ipv4(address)?)
    };
    if length.is_empty() || length.len() > 3 || !length.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(IpNet::new(address, length.parse().ok()?).ok()?.trunc())
}

/// The family of an address.
pub(crate) fn family_of(address: IpAddr) -> IpFamily {
    match address {
        IpAddr::V4(_) => IpFamily::V4,
        IpAddr::V6(_) => IpFamily::V6,
    }
}

/// The family of a CIDR.
pub(crate) fn family_of_net(net: &IpNet) -> IpFamily {
    family_of(net.addr())
}

fn parse_ipv4(text: &str) -> Option<Ipv4Addr> {
    let mut octets = [0; 4];
    let mut parts = text.split('.');
    for octet in &mut octets {
        let part = parts.next()?;
        if part.is_empty() || !part.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let digits = part.trim_start_matches('0');
        *octet = if digits.is_empty() { 0 } else { digits.parse().ok()? };
    }
    parts.next().is_none().then(|| Ipv4Addr::from(octets))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_sloppily_and_printed_canonically() {
        let cases = [
            ("10.0.0.1", Some("10.0.0.1")),
            ("172.30.0.041", Some("172.30.0.41")),
            ("000.0.00.008", Some("0.0.0.8")),
            ("FD00::0:1", Some("fd00::1")),
            ("::ffff:10.0.0.01", Some("10.0.0.1")),
            ("::ffff:a00:1", Some("10.0.0.1")),
            ("64:ff9b::10.0.0.1", Some("64:ff9b::a00:1")),
            ("", None),
            ("10.0.0", None),
            ("10.0.0.1.2", None),
            ("10.0.0.256", None),
            ("10.0.0.+1", None),
            ("10.0.0.1 ", None),
            ("10.0.0.1\n", None),
            ("fe80::1%eth0", None),
            ("1", None),
            ("0x0a.0.0.1", None),
        ];
        for (text, expected) in cases {
            let read = parse_ip(text).map(|address| address.to_string());
            assert_eq!(read.as_deref(), expected, "{text:?}");
        }
    }

    #[test]
    fn cidrs_lose_their_host_bits() {
        let cases = [
            ("10.1.2.3/8", Some("10.0.0.0/8")),
            ("010.0.0.0/08", Some("10.0.0.0/8")),
            ("0.0.0.0/0", Some("0.0.0.0/0")),
            ("fd00::1/64", Some("fd00::/64")),
            ("10.0.0.0/33", None),
            ("10.0.0.0/-1", None),
            ("10.0.0.0/+8", None),
            ("10.0.0.0/", None),
            ("10.0.0.0", None),
            ("fd00::/129", None),
            ("10.0.0.0/0008", None),
        ];
        for (text, expected) in cases {
            let read = parse_cidr(text).map(|net| net.to_string());
            assert_eq!(read.as_deref(), expected, "{text:?}");
        }
    }
}
