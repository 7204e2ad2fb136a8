//! A packet: its bytes from the Ethernet header up, and what Linux keeps beside them in `struct sk_buff`.

use crate::ct::PacketCt;
use crate::ids::{DeviceId, FlowId, PacketId};
use crate::route::RouteResult;
use crate::wire::{ETHERNET_HEADER_LEN, Ethernet, Headers, Ipv4, MacAddr};
use std::net::Ipv4Addr;

/// To whom the frame was addressed at layer 2 (`skb->pkt_type`, include/uapi/linux/if_packet.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PacketType {
    /// To the receiving device's own MAC.
    Host,
    /// To the broadcast MAC.
    Broadcast,
    /// To a group MAC.
    Multicast,
    /// To some other host; seen because of promiscuous mode or flooding.
    OtherHost,
}

/// What br_netfilter remembers of a bridged packet (`struct nf_bridge_info`, include/linux/skbuff.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BridgeInfo {
    /// Port on which the frame came in (`physindev`).
    pub phys_in: DeviceId,
    /// Port by which it will leave, once known (`physoutdev`).
    pub phys_out: Option<DeviceId>,
    /// The frame was addressed to another host before br_netfilter showed it to IP (`pkt_otherhost`).
    pub was_other_host: bool,
    /// PREROUTING is running on the bridge (`in_prerouting`). Once it has run, `ip_sabotage_in` skips it on the way up.
    pub is_in_prerouting: bool,
    /// Destination before PREROUTING, by which DNAT is noticed (`ipv4_daddr`).
    pub original_dst: Ipv4Addr,
    /// Source MAC of the frame, kept while a neighbour is looked up (`neigh_header`).
    pub src_mac: MacAddr,
    /// Waits for the MAC of its new destination and is then bridged on (`bridged_dnat`).
    pub is_bridged_dnat: bool,
}

/// What a packet that was put together remembers of its fragments (`struct inet_skb_parm`, include/net/ip.h).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Defragmented {
    /// The largest fragment, in bytes of IP (`frag_max_size`): no larger ones may be made of the packet.
    pub max_size: u16,
    /// Bytes of payload of each fragment in order, where new ones may have the same.
    pub sizes: Vec<u16>,
}

/// Metadata that travels with the bytes inside one netns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    /// `skb->mark`; zeroed when the packet changes netns.
    pub mark: u32,
    /// Conntrack attachment (`skb->_nfct`); dropped when the packet crosses a veth.
    pub ct: PacketCt,
    /// Device on which the packet arrived (`skb->dev` on receive).
    pub in_dev: Option<DeviceId>,
    /// Layer-2 addressee.
    pub packet_type: PacketType,
    /// Set while br_netfilter has the packet, and until it leaves the IP layer.
    pub bridge: Option<BridgeInfo>,
    /// The routing decision (`skb_dst`); dropped when the packet crosses a veth.
    pub route: Option<RouteResult>,
    /// It was put together from fragments, which it remembers until IP sees it anew (`IPCB(skb)->frag_max_size`).
    pub defragmented: Option<Box<Defragmented>>,
}

impl Default for Meta {
    fn default() -> Self {
        Self {
            mark: 0,
            ct: PacketCt::None,
            in_dev: None,
            packet_type: PacketType::Host,
            bridge: None,
            route: None,
            defragmented: None,
        }
    }
}

/// Why a packet exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// A socket sent it.
    Socket,
    /// The kernel made it: ICMP error, echo reply, RST, ARP.
    Kernel,
    /// A bridge copied another packet to flood it.
    Clone,
    /// A part of a packet that was too large (`ip_do_fragment`).
    Fragment,
    /// A scenario step or a test injected it.
    Injected,
}

/// A packet. It cannot be cloned silently: every copy is created by `Trace::fork`, and every packet ends in `Trace::end`.
#[derive(Debug)]
pub struct Packet {
    /// Identity.
    pub id: PacketId,
    /// The flow that a scenario step started and to which this packet belongs, directly or as its answer.
    pub flow: Option<FlowId>,
    /// Links crossed so far, so that a packet that circles is found out.
    pub crossings: u32,
    /// Bytes from the Ethernet header on. The first 14 bytes are zero until a neighbour is resolved.
    pub bytes: Vec<u8>,
    /// Metadata; boxed, because a packet is moved at every step.
    pub meta: Box<Meta>,
}

impl Packet {
    /// The bytes from the network header on.
    pub fn l3(&self) -> &[u8] {
        &self.bytes[ETHERNET_HEADER_LEN..]
    }

    /// As [`Packet::l3`], to change them.
    pub fn l3_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[ETHERNET_HEADER_LEN..]
    }

    /// The Ethernet header.
    ///
    /// # Panics
    /// If the packet is shorter than that; no packet is, for frames are checked where they enter a world.
    pub fn ethernet(&self) -> Ethernet<&[u8]> {
        Ethernet::new_checked(&self.bytes[..]).expect("a packet begins with an Ethernet header")
    }

    /// Changes the destination MAC and nothing else.
    pub fn set_dst_mac(&mut self, mac: MacAddr) {
        self.bytes[..6].copy_from_slice(&mac.0);
    }

    /// Changes the source MAC and nothing else.
    pub fn set_src_mac(&mut self, mac: MacAddr) {
        self.bytes[6..12].copy_from_slice(&mac.0);
    }

    /// A view of the IPv4 header. The stack calls it after `ip_rcv` has validated the bytes.
    pub fn ipv4(&self) -> Ipv4<&[u8]> {
        Ipv4::new_unchecked(self.l3())
    }

    /// As [`Packet::ipv4`], to change it.
    pub fn ipv4_mut(&mut self) -> Ipv4<&mut [u8]> {
        Ipv4::new_unchecked(self.l3_mut())
    }

    /// Addresses, protocol and ports; `None` if the bytes are no IPv4 packet.
    pub fn headers(&self) -> Option<Headers> {
        Headers::parse(self.l3())
    }
}

/// A packet at rest: in flight on a link, waiting for a neighbour, or part of an effect.
///
/// It can be cloned because a whole world can be forked with everything in it; nothing else clones it.
#[derive(Debug)]
pub struct QueuedPacket(pub Packet);

impl Clone for QueuedPacket {
    fn clone(&self) -> Self {
        let Packet { id, flow, crossings, bytes, meta } = &self.0;
        Self(Packet { id: *id, flow: *flow, crossings: *crossings, bytes: bytes.clone(), meta: meta.clone() })
    }
}
