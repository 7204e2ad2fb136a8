//! Builds the packets of a script.

use std::net::SocketAddrV4;

use sim::wire::build::{self, Ipv4Fields};
use sim::wire::tcp_option::kind;
use sim::wire::{ETHERNET_HEADER_LEN, Ipv4, TcpFlags, protocol};

use super::INITIAL_SEQ;
use crate::frame::{PacketId, Source};
use crate::prepare::{REQUEST, ScriptPlan};
use crate::scenario::segment::{ScriptLine, ScriptPacket, ScriptPayload, ScriptSegment, ScriptTcpOption};

/// Linux defaults for TTL and window.
const TTL: u8 = 64;
const WINDOW: u16 = 64_240;

/// First IP ID of scripts. It is never zero, for which a kernel would substitute its own if DF is clear.
const FIRST_IDENT: u16 = 0x4000;

/// The packet of the line with that number, counted from the start of the connection, starting with its IP header.
pub(super) fn packet(
    plan: &ScriptPlan,
    number: usize,
    packet: &ScriptPacket,
    is_checksum_bad: bool,
    peer_initial: u32,
) -> Vec<u8> {
    let src = SocketAddrV4::new(packet.src.unwrap_or(plan.client), plan.source_port);
    let (protocol, mut l4, checksum_at) = match &packet.payload {
        ScriptPayload::Tcp(segment) => (protocol::TCP, tcp(src, plan.to, segment, peer_initial), 16),
        ScriptPayload::Udp { len } => {
            let ends = ((*src.ip(), src.port()), (*plan.to.ip(), plan.to.port()));
            (protocol::UDP, build::udp(ends.0, ends.1, &filler(0, *len)), 6)
        }
        ScriptPayload::Icmp(_) => unreachable!("scripts cannot send ICMP"),
    };
    if is_checksum_bad {
        l4[checksum_at] ^= 0x08;
    }
    let fields = Ipv4Fields {
        src: *src.ip(),
        dst: *plan.to.ip(),
        protocol,
        ttl: packet.ttl.unwrap_or(TTL),
        tos: 0,
        ident: FIRST_IDENT.wrapping_add(u16::try_from(number).unwrap_or(0)),
        dont_fragment: packet.dont_fragment.unwrap_or(true),
    };
    build::ipv4(fields, &l4).split_off(ETHERNET_HEADER_LEN)
}

fn tcp(src: SocketAddrV4, dst: SocketAddrV4, segment: &ScriptSegment, peer_initial: u32) -> Vec<u8> {
    let options = write_options(&segment.options);
    let header_words = u8::try_from(5 + options.len() / 4).unwrap_or(15);
    let ack = segment.ack.map_or(0, |ack| peer_initial.wrapping_add(ack));
    let mut l4 = Vec::new();
    l4.extend_from_slice(&src.port().to_be_bytes());
    l4.extend_from_slice(&dst.port().to_be_bytes());
    l4.extend_from_slice(&INITIAL_SEQ.wrapping_add(segment.seq).to_be_bytes());
    l4.extend_from_slice(&ack.to_be_bytes());
    l4.extend_from_slice(&[header_words << 4, segment.flags.0]);
    l4.extend_from_slice(&segment.window.unwrap_or(WINDOW).to_be_bytes());
    // Checksum and urgent pointer.
    l4.extend_from_slice(&[0; 4]);
    l4.extend_from_slice(&options);
    // A SYN occupies the first number, so data starts at 1.
    let first = segment.seq.wrapping_add(u32::from(segment.flags.contains(TcpFlags::SYN)));
    l4.extend_from_slice(&filler(first.wrapping_sub(1), segment.len));
    build::finish_transport_checksum(*src.ip(), *dst.ip(), protocol::TCP, &mut l4);
    l4
}

/// Data from that stream position on: the clients' request, repeated.
fn filler(position: u32, len: u16) -> Vec<u8> {
    let positions = (0..u32::from(len)).map(|offset| position.wrapping_add(offset));
    positions.map(|position| REQUEST[position as usize % REQUEST.len()]).collect()
}

/// The packets that a script sends, as they are recognized in captures, with their sources.
pub(crate) fn known_packets(plan: &ScriptPlan) -> Vec<(PacketId, Source)> {
    let known = |(line, number): (&ScriptLine, usize)| {
        let ScriptLine::Send { packet: sent, is_checksum_bad, .. } = line else { return None };
        let bytes = packet(plan, plan.lines_before + number, sent, *is_checksum_bad, 0);
        let src = (Some(sent.src.unwrap_or(plan.client)), plan.source_port);
        Some((PacketId::of(&Ipv4::new_checked(&*bytes)?)?, src))
    };
    plan.lines.iter().zip(1..).filter_map(known).collect()
}

/// Encodes options, padded to 32-bit words.
fn write_options(options: &[ScriptTcpOption]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for option in options {
        match *option {
            ScriptTcpOption::Mss(size) => {
                bytes.extend_from_slice(&[kind::MSS, 4]);
                bytes.extend_from_slice(&size.to_be_bytes());
            }
            ScriptTcpOption::WindowScale(shift) => bytes.extend_from_slice(&[kind::WINDOW_SCALE, 3, shift]),
            ScriptTcpOption::SackPermitted => bytes.extend_from_slice(&[kind::SACK_PERMITTED, 2]),
            ScriptTcpOption::Nop => bytes.push(kind::NOP),
            ScriptTcpOption::Other(_) => unreachable!("scripts cannot send unnamed options"),
        }
    }
    bytes.resize(bytes.len().next_multiple_of(4), kind::END);
    bytes
}
