//! Reads the packets that a script receives.

use std::net::SocketAddrV4;

use sim::wire::icmpv4::{ICMP_HEADER_LEN, icmp_type};
use sim::wire::udp::UDP_HEADER_LEN;
use sim::wire::{
    ETHERNET_HEADER_LEN, EtherType, Ethernet, Icmpv4, Ipv4, Quote, Tcp, TcpFlags, TcpOption, Udp, protocol,
};

use super::reassembly::Reassembled;
use super::{INITIAL_SEQ, ScriptState};
use crate::observation::Transport;
use crate::prepare::ScriptPlan;
use crate::scenario::segment::{
    ScriptEcho, ScriptFragment, ScriptFragments, ScriptIcmp, ScriptIcmpError, ScriptIcmpField,
    ScriptIcmpKind, ScriptPacket, ScriptPayload, ScriptSegment, ScriptTcpOption,
};

/// A packet received for the script.
pub(super) struct Arrival {
    pub(super) packet: ScriptPacket,
    /// Its sender; for an ICMP error, the destination of the quoted packet.
    pub(super) peer: SocketAddrV4,
}

impl Arrival {
    /// The packet of a frame, if it belongs to the script. The state learns the peer's initial number, and keeps the
    /// packet if a later ICMP error may quote it.
    pub(super) fn of(plan: &ScriptPlan, state: &mut ScriptState, frame: &[u8]) -> Option<Self> {
        let is_ip = Ethernet::new_checked(frame)?.ethertype() == EtherType::Ipv4;
        let l3 = frame.get(ETHERNET_HEADER_LEN..)?;
        let ip = Ipv4::new_checked(l3).filter(|_| is_ip)?;
        if ip.dst() != plan.client {
            return None;
        }
        if ip.fragment_offset() == 0 && !ip.more_fragments() {
            return Self::of_packet(plan, state, &ip, None);
        }
        let Reassembled { bytes, largest } = state.reassembly.add(&ip)?;
        let fragments = Some(ScriptFragments::All(largest));
        Self::of_packet(plan, state, &Ipv4::new_checked(&bytes[..])?, fragments)
    }

    fn of_packet(
        plan: &ScriptPlan,
        state: &mut ScriptState,
        ip: &Ipv4<&[u8]>,
        fragments: Option<ScriptFragments>,
    ) -> Option<Self> {
        let (payload, peer) = match (ip.protocol(), plan.transport) {
            (protocol::TCP, Transport::Tcp) => {
                let tcp = Tcp::new_checked(ip.payload()).filter(|tcp| tcp.dst_port() == plan.source_port)?;
                if tcp.flags().contains(TcpFlags::SYN) {
                    state.peer_initial = Some(tcp.sequence());
                }
                let numbers = Numbers { seq: state.peer_initial.unwrap_or(0), ack: INITIAL_SEQ };
                let segment = numbers.segment(&tcp, tcp.payload().len());
                (ScriptPayload::Tcp(segment), SocketAddrV4::new(ip.src(), tcp.src_port()))
            }
            (protocol::UDP, Transport::Udp) => {
                let udp = Udp::new_checked(ip.payload()).filter(|udp| udp.dst_port() == plan.source_port)?;
                (udp_of(udp.payload().len()), SocketAddrV4::new(ip.src(), udp.src_port()))
            }
            (protocol::ICMP, _) => {
                let icmp = Icmpv4::new_checked(ip.payload())?;
                if icmp.is_error() {
                    let (error, peer) = error(plan, state, &icmp)?;
                    (ScriptPayload::Icmp(ScriptIcmp::Error(error)), peer)
                } else {
                    (echo(plan, &icmp, icmp.payload().len())?, SocketAddrV4::new(ip.src(), 0))
                }
            }
            _ => return None,
        };
        if !matches!(payload, ScriptPayload::Icmp(ScriptIcmp::Error(_))) {
            state.last_packet = Some([ip.header(), ip.payload()].concat().into());
        }
        Some(Self { packet: packet_of(ip, payload, fragments), peer })
    }
}

fn packet_of(ip: &Ipv4<&[u8]>, payload: ScriptPayload, fragments: Option<ScriptFragments>) -> ScriptPacket {
    ScriptPacket {
        payload,
        ttl: Some(ip.ttl()),
        src: Some(ip.src()),
        dont_fragment: Some(ip.dont_fragment()),
        ident: None,
        fragments,
    }
}

/// The error and the destination of the quoted packet, if that is one of the script's.
fn error(
    plan: &ScriptPlan,
    state: &ScriptState,
    icmp: &Icmpv4<&[u8]>,
) -> Option<(ScriptIcmpError, SocketAddrV4)> {
    let kind = ScriptIcmpKind { icmp_type: icmp.icmp_type(), code: icmp.code() };
    let field = ScriptIcmpField::of_word(kind, icmp.word());
    let quote = Quote::parse(icmp.payload())?;
    let l4_len = usize::from(quote.ip.total_len()).saturating_sub(quote.ip.header_len());
    let (payload, port) = match (quote.ip.protocol(), plan.transport) {
        (protocol::TCP, Transport::Tcp) => {
            let (_, port) = quote.ports().filter(|(own, _)| *own == plan.source_port)?;
            let numbers = Numbers { seq: INITIAL_SEQ, ack: state.peer_initial.unwrap_or(0) };
            let segment = Tcp::new_checked(quote.l4)
                .map(|tcp| numbers.segment(&tcp, l4_len.saturating_sub(tcp.header_len())));
            (segment.map(ScriptPayload::Tcp), port)
        }
        (protocol::UDP, Transport::Udp) => {
            let (_, port) = quote.ports().filter(|(own, _)| *own == plan.source_port)?;
            // Of a fragment, the length is in the UDP header only.
            let len = quote.l4.get(4..6).map(|len| usize::from(u16::from_be_bytes([len[0], len[1]])));
            (len.and_then(|len| len.checked_sub(UDP_HEADER_LEN)).map(udp_of), port)
        }
        (protocol::ICMP, Transport::Icmp) => {
            let icmp = Icmpv4::new_checked(quote.l4)?;
            (Some(echo(plan, &icmp, l4_len.saturating_sub(ICMP_HEADER_LEN))?), 0)
        }
        _ => return None,
    };
    let peer = SocketAddrV4::new(quote.ip.dst(), port);
    let fragment = ScriptFragment {
        size: short(l4_len),
        offset: quote.ip.fragment_offset(),
        has_more: quote.ip.more_fragments(),
    };
    let fragments = fragment.has_more.then_some(ScriptFragments::One(fragment));
    let quote = payload.map(|payload| Box::new(packet_of(&quote.ip, payload, fragments)));
    Some((ScriptIcmpError { kind, field, quote }, peer))
}

/// An echo message with the script's identifier, and `len` bytes of data.
fn echo(plan: &ScriptPlan, icmp: &Icmpv4<&[u8]>, len: usize) -> Option<ScriptPayload> {
    let is_reply = match icmp.icmp_type() {
        icmp_type::ECHO_REPLY => true,
        icmp_type::ECHO_REQUEST => false,
        _ => return None,
    };
    let is_own = plan.transport == Transport::Icmp && icmp.id() == plan.source_port;
    let echo = ScriptEcho { is_reply, len: short(len), seq: Some(icmp.sequence()) };
    is_own.then_some(ScriptPayload::Icmp(ScriptIcmp::Echo(echo)))
}

fn udp_of(len: usize) -> ScriptPayload {
    ScriptPayload::Udp { len: short(len) }
}

fn short(len: usize) -> u16 {
    u16::try_from(len).unwrap_or(u16::MAX)
}

/// The initial numbers of a segment's sender and receiver.
struct Numbers {
    seq: u32,
    ack: u32,
}

impl Numbers {
    /// The segment with numbers relative to the initial ones, and `len` bytes of data.
    fn segment(&self, tcp: &Tcp<&[u8]>, len: usize) -> ScriptSegment {
        let flags = tcp.flags();
        // A reset of a segment without ACK has the number 0, whatever the initial one (`tcp_v4_send_reset`,
        // net/ipv4/tcp_ipv4.c).
        let is_unnumbered = flags.contains(TcpFlags::RST.union(TcpFlags::ACK)) && tcp.sequence() == 0;
        ScriptSegment {
            flags,
            seq: if is_unnumbered { 0 } else { tcp.sequence().wrapping_sub(self.seq) },
            len: short(len),
            ack: flags.contains(TcpFlags::ACK).then(|| tcp.acknowledgment().wrapping_sub(self.ack)),
            window: Some(tcp.window()),
            options: TcpOption::iter(tcp.options()).map(ScriptTcpOption::from).collect(),
        }
    }
}
