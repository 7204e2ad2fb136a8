//! Parses `frag 1480` and `frag 1480@2960+`.

use super::super::{ScriptFragment, ScriptFragments, ScriptPacket};
use super::{LEN_MAX, PacketRole, number};
use crate::scenario::FieldFault;

/// The maximum payload of an IPv4 packet, in bytes.
const IP_PAYLOAD_MAX: usize = 65_515;

/// The value of `frag`.
pub(super) fn fragments(text: &str, role: PacketRole) -> Result<ScriptFragments, FieldFault> {
    let size = |text: &str| {
        number(text, "a size in bytes, such as 1480, or SIZE@OFFSET, such as 1480@2960+", 1..=u16::MAX)
    };
    let fragments = match text.split_once('@') {
        None => ScriptFragments::All(size(text)?),
        Some((len, place)) => {
            let offset = place.strip_suffix('+').unwrap_or(place);
            let offset: u16 = number(offset, "an offset in bytes, such as 1480@2960+", 0..=u16::MAX)?;
            if !offset.is_multiple_of(8) {
                return Err(FieldFault::new(format!("invalid offset {offset}"))
                    .expected("a multiple of 8, the unit of the header's field"));
            }
            let fragment = ScriptFragment { size: size(len)?, offset, has_more: place.ends_with('+') };
            if fragment.offset == 0 && !fragment.has_more {
                return Err(FieldFault::new(format!("{fragment} is a complete packet, not a fragment"))
                    .expected(format!("{fragment}+ for the first fragment")));
            }
            ScriptFragments::One(fragment)
        }
    };
    match (role, fragments) {
        (PacketRole::Expected, ScriptFragments::One(_)) => {
            Err(FieldFault::new("received fragments are reassembled before they are compared")
                .expected("frag SIZE, the size of the largest fragment"))
        }
        (PacketRole::Quoted, ScriptFragments::All(_)) => {
            Err(FieldFault::new("an ICMP error quotes one fragment")
                .expected("frag SIZE@OFFSET, such as 1480@0+"))
        }
        (PacketRole::Sent | PacketRole::Quoted, ScriptFragments::One(_))
        | (PacketRole::Sent | PacketRole::Expected, ScriptFragments::All(_)) => Ok(fragments),
    }
}

/// Checks that the fragments of a sent or quoted packet exist, and that a complete packet fits into any device's MTU.
pub(super) fn check(packet: &ScriptPacket, role: PacketRole) -> Result<(), FieldFault> {
    let len = packet.payload_len();
    if let Some(len) = len.filter(|len| *len > IP_PAYLOAD_MAX) {
        return Err(FieldFault::new(format!("the packet has {len} bytes without its IP header"))
            .expected(format!("at most {IP_PAYLOAD_MAX}")));
    }
    let is_sent = match role {
        PacketRole::Sent => true,
        PacketRole::Quoted => false,
        PacketRole::Expected => return Ok(()),
    };
    match (packet.fragments, len) {
        (None, len) => {
            let data = packet.data_len();
            if is_sent && len.is_some() && data > LEN_MAX {
                return Err(FieldFault::new(format!("{data} bytes do not fit into one packet"))
                    .expected(format!("a length from 0 to {LEN_MAX}, or fragments, such as frag 1480")));
            }
            Ok(())
        }
        (Some(_), None) => Err(FieldFault::new("ICMP errors are not sent in fragments")),
        (Some(ScriptFragments::All(size)), Some(len)) => {
            if !size.is_multiple_of(8) && usize::from(size) < len {
                return Err(FieldFault::new(format!("invalid size {size} of fragments"))
                    .expected("a multiple of 8, the unit of offsets"));
            }
            Ok(())
        }
        (Some(ScriptFragments::One(fragment)), Some(len)) => {
            if usize::from(fragment.offset) + usize::from(fragment.size) > len {
                return Err(FieldFault::new(format!("fragment {fragment} ends behind the packet"))
                    .expected(format!("a part of its {len} bytes without the IP header")));
            }
            if is_sent && packet.ident.is_none() {
                return Err(FieldFault::new("a single fragment needs an IP ID")
                    .expected("ipid N, the same in all fragments of a packet"));
            }
            Ok(())
        }
    }
}
