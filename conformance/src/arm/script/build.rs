//! Builds the packets of a script.

use std::net::SocketAddrV4;

use sim::wire::build::{self, Ipv4Fields};
use sim::wire::icmpv4::{ICMP_HEADER_LEN, icmp_type};
use sim::wire::ipv4::IPV4_HEADER_LEN;
use sim::wire::tcp_option::kind;
use sim::wire::{ETHERNET_HEADER_LEN, Ipv4, TcpFlags, protocol};

use super::{INITIAL_SEQ, ScriptState};
use crate::frame::{PacketId, Source};
use crate::prepare::{REQUEST, ScriptPlan};
use crate::scenario::segment::{
    ScriptFragment, ScriptIcmp, ScriptIcmpError, ScriptIcmpField, ScriptLine, ScriptPacket, ScriptPayload,
    ScriptSegment, ScriptTcpOption,
};

/// Linux defaults for TTL and window.
const TTL: u8 = 64;
const WINDOW: u16 = 64_240;

/// Sequence number of an echo.
const FIRST_ECHO: u16 = 1;

/// First IP ID of scripts. It is never zero, for which a kernel would substitute its own if DF is clear.
const FIRST_IDENT: u16 = 0x4000;

/// An ICMP error has at most 576 bytes (RFC 1812 §4.3.2.3), so this is the space for the quote.
const QUOTE_MAX: usize = 576 - IPV4_HEADER_LEN - ICMP_HEADER_LEN;

/// The packet of the line with that number, counted from the start of the connection, or its fragments, each starting with
/// an IP header; `None` if it quotes the last packet of the peer, and there is none.
pub(super) fn packets(
    plan: &ScriptPlan,
    state: &ScriptState,
    number: usize,
    packet: &ScriptPacket,
    is_checksum_bad: bool,
) -> Option<Vec<Vec<u8>>> {
    let src = SocketAddrV4::new(packet.src.unwrap_or(plan.client), plan.source_port);
    let way = Way { src, dst: plan.to, seq: INITIAL_SEQ, ack: state.peer_initial.unwrap_or(0) };
    let (mut l4, checksum_at) = match &packet.payload {
        ScriptPayload::Icmp(ScriptIcmp::Error(error)) => (icmp_error(plan, state, error)?, 2),
        payload @ (ScriptPayload::Tcp(_)
        | ScriptPayload::Udp { .. }
        | ScriptPayload::Icmp(ScriptIcmp::Echo(_))) => way.message(plan, payload),
    };
    if is_checksum_bad {
        l4[checksum_at] ^= 0x08;
    }
    let ident = packet.ident.unwrap_or_else(|| FIRST_IDENT.wrapping_add(u16::try_from(number).unwrap_or(0)));
    Some(way.packets(packet, ident, &l4))
}

/// The ends of a packet, and the initial sequence numbers of its sender and receiver.
struct Way {
    src: SocketAddrV4,
    dst: SocketAddrV4,
    seq: u32,
    ack: u32,
}

impl Way {
    /// The packet or its fragments.
    fn packets(&self, packet: &ScriptPacket, ident: u16, l4: &[u8]) -> Vec<Vec<u8>> {
        let whole = self.whole(packet, ident, l4);
        let Some(fragments) = packet.fragments else { return vec![whole] };
        let len = u16::try_from(l4.len()).expect("an IPv4 packet is under 64 KiB");
        fragments.of(len).into_iter().map(|fragment| part(&whole, fragment)).collect()
    }

    /// The complete packet, starting with its IP header.
    fn whole(&self, packet: &ScriptPacket, ident: u16, l4: &[u8]) -> Vec<u8> {
        let fields = Ipv4Fields {
            src: *self.src.ip(),
            dst: *self.dst.ip(),
            protocol: protocol_of(&packet.payload),
            ttl: packet.ttl.unwrap_or(TTL),
            tos: 0,
            ident,
            // Senders clear DF in what they fragment.
            dont_fragment: packet.dont_fragment.unwrap_or(packet.fragments.is_none()),
        };
        build::ipv4(fields, l4).split_off(ETHERNET_HEADER_LEN)
    }

    /// The segment, datagram or echo, and where its checksum is.
    fn message(&self, plan: &ScriptPlan, payload: &ScriptPayload) -> (Vec<u8>, usize) {
        match payload {
            ScriptPayload::Tcp(segment) => (self.tcp(segment), 16),
            ScriptPayload::Udp { len } => {
                let ends = ((*self.src.ip(), self.src.port()), (*self.dst.ip(), self.dst.port()));
                (build::udp(ends.0, ends.1, &filler(0, *len)), 6)
            }
            ScriptPayload::Icmp(ScriptIcmp::Echo(echo)) => {
                let icmp_type = if echo.is_reply { icmp_type::ECHO_REPLY } else { icmp_type::ECHO_REQUEST };
                let [id_high, id_low] = plan.source_port.to_be_bytes();
                let [seq_high, seq_low] = echo.seq.unwrap_or(FIRST_ECHO).to_be_bytes();
                let rest = [id_high, id_low, seq_high, seq_low];
                (build::icmpv4(icmp_type, 0, rest, &filler(0, echo.len)), 2)
            }
            ScriptPayload::Icmp(ScriptIcmp::Error(_)) => unreachable!("an error is not quoted"),
        }
    }

    fn tcp(&self, segment: &ScriptSegment) -> Vec<u8> {
        let options = write_options(&segment.options);
        let header_words = u8::try_from(5 + options.len() / 4).unwrap_or(15);
        let ack = segment.ack.map_or(0, |ack| self.ack.wrapping_add(ack));
        let mut l4 = Vec::new();
        l4.extend_from_slice(&self.src.port().to_be_bytes());
        l4.extend_from_slice(&self.dst.port().to_be_bytes());
        l4.extend_from_slice(&self.seq.wrapping_add(segment.seq).to_be_bytes());
        l4.extend_from_slice(&ack.to_be_bytes());
        l4.extend_from_slice(&[header_words << 4, segment.flags.0]);
        l4.extend_from_slice(&segment.window.unwrap_or(WINDOW).to_be_bytes());
        // Checksum and urgent pointer.
        l4.extend_from_slice(&[0; 4]);
        l4.extend_from_slice(&options);
        // A SYN occupies the first number, so data starts at 1.
        let first = segment.seq.wrapping_add(u32::from(segment.flags.contains(TcpFlags::SYN)));
        l4.extend_from_slice(&filler(first.wrapping_sub(1), segment.len));
        build::finish_transport_checksum(*self.src.ip(), *self.dst.ip(), protocol::TCP, &mut l4);
        l4
    }
}

/// A fragment of a packet.
fn part(whole: &[u8], fragment: ScriptFragment) -> Vec<u8> {
    let ScriptFragment { size, offset, has_more } = fragment;
    let from = IPV4_HEADER_LEN + usize::from(offset);
    let mut part = [&whole[..IPV4_HEADER_LEN], &whole[from..from + usize::from(size)]].concat();
    let mut header = Ipv4::new_unchecked(&mut part[..]);
    let total_len = u16::try_from(IPV4_HEADER_LEN).expect("it is 20") + size;
    let dont_fragment = header.dont_fragment();
    header.set_part(total_len, offset.into(), has_more, dont_fragment);
    part
}

/// The error, about the quoted packet of the peer or about the last one that arrived.
fn icmp_error(plan: &ScriptPlan, state: &ScriptState, error: &ScriptIcmpError) -> Option<Vec<u8>> {
    let mut quote = match &error.quote {
        Some(quoted) => {
            let src = SocketAddrV4::new(quoted.src.unwrap_or(*plan.to.ip()), plan.to.port());
            let dst = SocketAddrV4::new(plan.client, plan.source_port);
            let way = Way { src, dst, seq: state.peer_initial.unwrap_or(0), ack: INITIAL_SEQ };
            way.packets(quoted, FIRST_IDENT, &way.message(plan, &quoted.payload).0).swap_remove(0)
        }
        None => state.last_packet.as_ref()?.to_vec(),
    };
    quote.truncate(QUOTE_MAX);
    let word = error.field.map_or([0; 4], ScriptIcmpField::word);
    Some(build::icmpv4(error.kind.icmp_type, error.kind.code, word, &quote))
}

const fn protocol_of(payload: &ScriptPayload) -> u8 {
    match payload {
        ScriptPayload::Tcp(_) => protocol::TCP,
        ScriptPayload::Udp { .. } => protocol::UDP,
        ScriptPayload::Icmp(_) => protocol::ICMP,
    }
}

/// Data from that stream position on: the clients' request, repeated.
fn filler(position: u32, len: u16) -> Vec<u8> {
    let positions = (0..u32::from(len)).map(|offset| position.wrapping_add(offset));
    positions.map(|position| REQUEST[position as usize % REQUEST.len()]).collect()
}

/// The packets with which a script may start flows, as they are recognized in captures, with their sources. An ICMP error
/// belongs to the flow of the quoted packet.
pub(crate) fn known_packets(plan: &ScriptPlan) -> Vec<(PacketId, Source)> {
    let known = |(line, number): (&ScriptLine, usize)| {
        let ScriptLine::Send { packet: sent, is_checksum_bad, .. } = line else { return None };
        if matches!(sent.payload, ScriptPayload::Icmp(ScriptIcmp::Error(_))) {
            return None;
        }
        let number = plan.lines_before + number;
        let packets = packets(plan, &ScriptState::default(), number, sent, *is_checksum_bad)?;
        let src = (Some(sent.src.unwrap_or(plan.client)), plan.source_port);
        let id = packets.iter().find_map(|bytes| PacketId::of(&Ipv4::new_checked(&**bytes)?))?;
        Some((id, src))
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
