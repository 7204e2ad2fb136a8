//! Tracks ICMP for IPv4 (net/netfilter/nf_conntrack_proto_icmp.c).

use super::Conntrack;
use crate::ct::{CtInfo, PacketCt};
use crate::mutation::Mutation;
use crate::time::Instant;
use crate::tuple::{Direction, L4Key, Tuple};
use crate::wire::{Icmpv4, Ip};
use std::net::IpAddr;

/// The highest known type (`NR_ICMP_TYPES`, include/uapi/linux/icmp.h).
const HIGHEST_TYPE: u8 = 18;

/// Classification of a packet before lookup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IcmpKind {
    /// A query or reply, tracked like any other packet.
    Query,
    /// An error about the flow of this entry.
    Error(PacketCt),
    /// Malformed, or about an unknown flow, with a description.
    Refused(&'static str),
}

/// Classifies an ICMP message (`nf_conntrack_icmpv4_error`).
pub(super) fn classify(ip: &Ip<&[u8]>, verify: bool, conntrack: &Conntrack, now: Instant) -> IcmpKind {
    let Some(icmp) = Icmpv4::new_checked(ip.payload()) else {
        return IcmpKind::Refused("an ICMP message without its header");
    };
    if verify && !icmp.is_checksum_valid() {
        return IcmpKind::Refused("an ICMP message with a wrong checksum");
    }
    if icmp.icmp_type() > HIGHEST_TYPE {
        return IcmpKind::Refused("an ICMP message of unknown type");
    }
    if !icmp.is_error() {
        return IcmpKind::Query;
    }
    if Mutation::ErrorsInvalid.is_on() {
        return IcmpKind::Refused("a mutation");
    }
    match flow_of_error(icmp.payload(), ip.dst(), conntrack, now) {
        Some(ct) => IcmpKind::Error(ct),
        None => IcmpKind::Refused("an ICMP error about a flow that is not known"),
    }
}

/// The flow that an error refers to: the inverted tuple of the quoted packet belongs to it, and the error is addressed
/// like such a packet. Without the second check, errors could be forwarded to any host (`nf_conntrack_inet_error`).
fn flow_of_error(quote: &[u8], outer_dst: IpAddr, conntrack: &Conntrack, now: Instant) -> Option<PacketCt> {
    let (id, direction) = conntrack.find(&Tuple::of_ipv4_quote(quote)?.reply()?, now)?;
    if conntrack.entry(id)?.tuple(direction).dst != outer_dst {
        return None;
    }
    let info = match direction {
        Direction::Original => CtInfo::Related,
        Direction::Reply => CtInfo::RelatedReply,
    };
    Some(PacketCt::Entry { id, info })
}

/// Only requests start a flow: echo, timestamp, information and address mask requests (`valid_new`).
pub(super) const fn may_start_flow(original: &Tuple) -> bool {
    match original.l4 {
        L4Key::Icmp { icmp_type, .. } => matches!(icmp_type, 8 | 13 | 15 | 17),
        L4Key::Ports { .. } | L4Key::Generic => false,
    }
}
