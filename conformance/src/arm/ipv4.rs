//! IPv6 plans are not executed: arms take the IPv4 form of an address, or reject it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};

use ipnet::{IpNet, Ipv4Net};

use super::ArmError;

/// A value of either family.
pub(super) trait EitherFamily: fmt::Display + Copy {
    /// Its IPv4 form.
    type V4;

    /// The IPv4 form, if it has one.
    fn v4(self) -> Option<Self::V4>;
}

impl EitherFamily for IpAddr {
    type V4 = Ipv4Addr;

    fn v4(self) -> Option<Ipv4Addr> {
        match self {
            Self::V4(address) => Some(address),
            Self::V6(_) => None,
        }
    }
}

impl EitherFamily for IpNet {
    type V4 = Ipv4Net;

    fn v4(self) -> Option<Ipv4Net> {
        match self {
            Self::V4(net) => Some(net),
            Self::V6(_) => None,
        }
    }
}

impl EitherFamily for SocketAddr {
    type V4 = SocketAddrV4;

    fn v4(self) -> Option<SocketAddrV4> {
        match self {
            Self::V4(address) => Some(address),
            Self::V6(_) => None,
        }
    }
}

/// The IPv4 form of an address or network.
///
/// # Errors
/// [`ArmError::Refused`] for IPv6.
pub(super) fn ipv4_only<T: EitherFamily>(value: T) -> Result<T::V4, ArmError> {
    value.v4().ok_or_else(|| ArmError::Refused(format!("{value}: IPv6 is not executed in this version")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipv6_is_refused_by_name() {
        let refused = |text: &str| ArmError::Refused(format!("{text}: IPv6 is not executed in this version"));
        let (address, net, socket) = ("2001:db8::1", "2001:db8::/64", "[2001:db8::1]:80");
        assert_eq!(ipv4_only(address.parse::<IpAddr>().expect("an address")), Err(refused(address)));
        assert_eq!(ipv4_only(net.parse::<IpNet>().expect("a network")), Err(refused(net)));
        assert_eq!(ipv4_only(socket.parse::<SocketAddr>().expect("an address")), Err(refused(socket)));
        let address = Ipv4Addr::new(192, 0, 2, 1);
        assert_eq!(ipv4_only(IpAddr::V4(address)), Ok(address));
    }
}
