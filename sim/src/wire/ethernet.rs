//! Ethernet II (IEEE 802.3 clause 3).

use super::be16;
use std::fmt;

/// Length of the Ethernet header in bytes.
pub const ETHERNET_HEADER_LEN: usize = 14;

mod field {
    use std::ops::Range;
    pub(super) const DST: Range<usize> = 0..6;
    pub(super) const SRC: Range<usize> = 6..12;
    pub(super) const ETHERTYPE: usize = 12;
}

/// A hardware address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MacAddr(pub [u8; 6]);

impl MacAddr {
    /// `ff:ff:ff:ff:ff:ff`.
    pub const BROADCAST: Self = Self([0xff; 6]);
    /// All zero: the address of `lo`, and "unknown" in an ARP request.
    pub const ZERO: Self = Self([0; 6]);

    /// True for group addresses, including broadcast.
    pub const fn is_multicast(self) -> bool {
        self.0[0] & 1 == 1
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// Protocols that follow an Ethernet header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EtherType {
    /// 0x0800.
    Ipv4,
    /// 0x0806.
    Arp,
    /// 0x86dd.
    Ipv6,
    /// Anything else.
    Other(u16),
}

impl EtherType {
    /// Reads the number of a header.
    pub const fn from_number(number: u16) -> Self {
        match number {
            0x0800 => Self::Ipv4,
            0x0806 => Self::Arp,
            0x86dd => Self::Ipv6,
            other => Self::Other(other),
        }
    }

    /// The number that goes into the header.
    pub const fn number(self) -> u16 {
        match self {
            Self::Ipv4 => 0x0800,
            Self::Arp => 0x0806,
            Self::Ipv6 => 0x86dd,
            Self::Other(number) => number,
        }
    }
}

/// A view of an Ethernet frame of at least [`ETHERNET_HEADER_LEN`] bytes.
#[derive(Clone, Copy, Debug)]
pub struct Ethernet<T>(T);

impl<T: AsRef<[u8]>> Ethernet<T> {
    /// A view, or `None` if the bytes are shorter than a header.
    pub fn new_checked(bytes: T) -> Option<Self> {
        (bytes.as_ref().len() >= ETHERNET_HEADER_LEN).then_some(Self(bytes))
    }

    /// Destination address.
    pub fn dst(&self) -> MacAddr {
        mac(&self.0.as_ref()[field::DST])
    }

    /// Source address.
    pub fn src(&self) -> MacAddr {
        mac(&self.0.as_ref()[field::SRC])
    }

    /// The protocol of the payload.
    pub fn ethertype(&self) -> EtherType {
        EtherType::from_number(be16(self.0.as_ref(), field::ETHERTYPE))
    }
}

impl<T: AsMut<[u8]>> Ethernet<T> {
    /// Writes the whole header.
    pub fn set(&mut self, dst: MacAddr, src: MacAddr, ethertype: EtherType) {
        let bytes = self.0.as_mut();
        bytes[field::DST].copy_from_slice(&dst.0);
        bytes[field::SRC].copy_from_slice(&src.0);
        bytes[field::ETHERTYPE..ETHERNET_HEADER_LEN].copy_from_slice(&ethertype.number().to_be_bytes());
    }
}

fn mac(bytes: &[u8]) -> MacAddr {
    let mut octets = [0; 6];
    octets.copy_from_slice(bytes);
    MacAddr(octets)
}
