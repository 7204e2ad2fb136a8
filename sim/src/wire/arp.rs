//! ARP for IPv4 over Ethernet (RFC 826).

use super::{MacAddr, be16};
use std::net::Ipv4Addr;

/// Length of an ARP packet for IPv4 over Ethernet, in bytes.
pub const ARP_LEN: usize = 28;

/// The operation of an ARP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ArpOperation {
    /// Requests the MAC of the target address.
    Request,
    /// Announces the sender's MAC.
    Reply,
}

/// The contents of an ARP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arp {
    /// Request or reply.
    pub operation: ArpOperation,
    /// MAC address of the sender.
    pub sender_mac: MacAddr,
    /// IP address of the sender.
    pub sender_ip: Ipv4Addr,
    /// MAC address of the target; zero in a request.
    pub target_mac: MacAddr,
    /// IP address of the target.
    pub target_ip: Ipv4Addr,
}

impl Arp {
    /// Parses a packet; `None` if it is not ARP for IPv4 over Ethernet, or neither request nor reply.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        if bytes.len() < ARP_LEN || be16(bytes, 0) != 1 || be16(bytes, 2) != 0x0800 || bytes[4..6] != [6, 4] {
            return None;
        }
        let operation = match be16(bytes, 6) {
            1 => ArpOperation::Request,
            2 => ArpOperation::Reply,
            _ => return None,
        };
        Some(Self {
            operation,
            sender_mac: MacAddr(bytes[8..14].try_into().ok()?),
            sender_ip: Ipv4Addr::new(bytes[14], bytes[15], bytes[16], bytes[17]),
            target_mac: MacAddr(bytes[18..24].try_into().ok()?),
            target_ip: Ipv4Addr::new(bytes[24], bytes[25], bytes[26], bytes[27]),
        })
    }

    /// Writes the packet.
    pub fn emit(&self) -> [u8; ARP_LEN] {
        let mut bytes = [0; ARP_LEN];
        bytes[..6].copy_from_slice(&[0, 1, 8, 0, 6, 4]);
        bytes[7] = match self.operation {
            ArpOperation::Request => 1,
            ArpOperation::Reply => 2,
        };
        bytes[8..14].copy_from_slice(&self.sender_mac.0);
        bytes[14..18].copy_from_slice(&self.sender_ip.octets());
        bytes[18..24].copy_from_slice(&self.target_mac.0);
        bytes[24..28].copy_from_slice(&self.target_ip.octets());
        bytes
    }
}
