//! Frames on devices, as shown by a simulator and a kernel, and their comparison.
//!
//! Bytes of the two are never equal: addresses of hardware, identifications, sequence numbers and time stamps are drawn at
//! random, and TCP may put an acknowledgment of its own before data or not. [`FrameSummary`] keeps what must be equal,
//! [`compare`] goes device by device.

use std::net::Ipv4Addr;
use std::time::Duration;

use sim::wire::arp::{Arp, ArpOperation};
use sim::wire::{ETHERNET_HEADER_LEN, EtherType, Ethernet};

/// A frame at a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The time, relative to an origin common to all frames of a run.
    pub at: Duration,
    /// The node's name.
    pub netns: String,
    /// The device.
    pub device: String,
    /// The direction.
    pub direction: FrameDirection,
    /// The frame, starting with its Ethernet header.
    pub bytes: Box<[u8]>,
}

impl Frame {
    /// Its IPv4 packet, if it has one.
    pub fn ipv4(&self) -> Option<&[u8]> {
        let is_ipv4 = Ethernet::new_checked(&*self.bytes)?.ethertype() == EtherType::Ipv4;
        self.bytes.get(ETHERNET_HEADER_LEN..).filter(|_| is_ipv4)
    }

    /// The address that an ARP request asks for.
    pub fn arp_request(&self) -> Option<Ipv4Addr> {
        let is_arp = Ethernet::new_checked(&*self.bytes)?.ethertype() == EtherType::Arp;
        let arp = Arp::parse(self.bytes.get(ETHERNET_HEADER_LEN..).filter(|_| is_arp)?)?;
        (arp.operation == ArpOperation::Request).then_some(arp.target_ip)
    }
}

/// The direction in which a frame passes a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FrameDirection {
    /// Received by the device.
    Received,
    /// Sent by the device.
    Transmitted,
}

mod attempt;
mod compare;
mod fragment;
mod summary;

pub use attempt::{
    Appearance, Attempt, FlowStart, PacketId, Parting, Sighting, Source, TranslatedPort, attempts, parted,
    ports_since,
};
pub use compare::{Comparison, Conversation, FrameDifference, Observer, compare};
pub use summary::{
    Body, FragmentSummary, FrameSummary, IcmpRest, InitialSeqs, IpSummary, OptionSummary, PayloadSummary,
    SeqSummary, TcpSummary,
};

#[cfg(test)]
mod tests;
