//! Lines of a script of raw packets.

use std::time::Duration;

use proxy_core::objects::Protocol;
use sim::wire::TcpFlags;

use crate::random::world::{RandomLine, RandomPacket, RandomPiecesKind, RandomWorld};
use crate::scenario::segment::{ScriptLine, ScriptPacket, ScriptPayload, ScriptSegment};

/// Lines as a scenario has them.
///
/// An acknowledgment number is either relative to the SYN-ACK that the script has received, or that of a connection that
/// nobody knows. In any other case its distance from the peer's initial number is random, and with it the verdicts of
/// conntrack and the peer: such a segment has no ACK here.
pub(super) fn print(
    lines: &[RandomLine],
    protocol: Protocol,
    is_port_shared: bool,
    world: &RandomWorld,
) -> Vec<String> {
    let lines = from_syn(lines, protocol);
    let mut script = Script { world, protocol, may_acknowledge: !is_port_shared };
    let mut lines: Vec<String> =
        lines.iter().filter_map(|line| script.line(line)).map(|line| line.to_string()).collect();
    if lines.is_empty() {
        // A script must have a line.
        lines.push(ScriptLine::ExpectNothing.to_string());
    }
    lines
}

/// Lines that send fragments or ICMP.
pub(super) fn pieces(kind: &RandomPiecesKind, protocol: Protocol) -> Vec<String> {
    let packet = |len: u16| match protocol {
        Protocol::Udp => format!("udp ({len})"),
        Protocol::Tcp | Protocol::Sctp => format!("S 0:{len}({len})"),
    };
    let df = |is_df: &bool| if *is_df { "df" } else { "nodf" };
    let mut lines = match kind {
        RandomPiecesKind::Large { is_df } => vec![format!("> {} {}", packet(1_400), df(is_df))],
        RandomPiecesKind::Fragments { size, is_df } => {
            vec![format!("> {} {} frag {size}", packet(2_000), df(is_df))]
        }
        RandomPiecesKind::Single(fragments) => {
            let line = |fragment: &&str| format!("> {} ipid 7 frag {fragment}", packet(2_000));
            fragments.iter().map(line).collect()
        }
        RandomPiecesKind::Echo { len: len @ ..=1_400 } => vec![format!("> icmp echo-request ({len})")],
        RandomPiecesKind::Echo { len } => vec![format!("> icmp echo-request ({len}) frag 1480")],
        RandomPiecesKind::Error(error) => {
            let quote = match protocol {
                Protocol::Udp => "udp (40)",
                Protocol::Tcp | Protocol::Sctp => "S. 0:0(0) ack 1",
            };
            vec![format!("> {}", packet(0)), format!("+0.05 > icmp {error} [{quote}]")]
        }
    };
    lines.push(ScriptLine::ExpectNothing.to_string());
    lines
}

/// Without the sender's own packets before its first SYN: the comparison of frames counts sequence numbers from there, and
/// one side may see it later than the other.
fn from_syn(lines: &[RandomLine], protocol: Protocol) -> Vec<RandomLine> {
    let is_own = |line: &RandomLine, with: fn(TcpFlags) -> bool| match line {
        RandomLine::Send(packet) => packet.source.is_none() && with(packet.flags),
        RandomLine::AwaitSynAck => false,
    };
    let is_syn = |line: &RandomLine| is_own(line, |flags| flags.contains(TcpFlags::SYN));
    let first = lines.iter().position(is_syn).filter(|_| protocol == Protocol::Tcp).unwrap_or(0);
    let (before, from) = lines.split_at(first);
    before.iter().filter(|line| !is_own(line, |_| true)).chain(from).copied().collect()
}

struct Script<'a> {
    world: &'a RandomWorld,
    protocol: Protocol,
    /// True until a SYN is sent, and from its answer on.
    may_acknowledge: bool,
}

impl Script<'_> {
    fn line(&mut self, line: &RandomLine) -> Option<ScriptLine> {
        match (line, self.protocol) {
            (RandomLine::Send(packet), _) => Some(self.send(packet)),
            (RandomLine::AwaitSynAck, Protocol::Tcp) => {
                self.may_acknowledge = true;
                let payload = segment(TcpFlags::SYN.union(TcpFlags::ACK), 0, 0);
                Some(ScriptLine::Expect(ScriptPacket::new(payload)))
            }
            (RandomLine::AwaitSynAck, Protocol::Udp | Protocol::Sctp) => None,
        }
    }

    fn send(&mut self, packet: &RandomPacket) -> ScriptLine {
        let RandomPacket { flags, seq, len, ttl, source, is_checksum_bad, delay } = *packet;
        let payload = match self.protocol {
            Protocol::Udp => ScriptPayload::Udp { len },
            Protocol::Tcp | Protocol::Sctp => {
                let flags = self.flags(flags, source.is_some());
                segment(flags, seq, if flags.contains(TcpFlags::PSH) { len } else { 0 })
            }
        };
        let src = source.and_then(|source| self.world.addr(source).parse().ok());
        let packet = ScriptPacket { ttl, src, ..ScriptPacket::new(payload) };
        ScriptLine::Send { delay: Duration::from_millis(delay.into()), packet, is_checksum_bad }
    }

    fn flags(&mut self, flags: TcpFlags, is_forged: bool) -> TcpFlags {
        let is_acknowledging = flags.contains(TcpFlags::ACK) && self.may_acknowledge && !is_forged;
        if flags.contains(TcpFlags::SYN) {
            self.may_acknowledge = false;
        }
        match is_acknowledging {
            true => flags,
            false if flags == TcpFlags::ACK => TcpFlags::SYN,
            false => TcpFlags(flags.0 & !TcpFlags::ACK.0),
        }
    }
}

/// The acknowledgment number is that of a connection in which the peer has sent only its SYN.
fn segment(flags: TcpFlags, seq: u32, len: u16) -> ScriptPayload {
    let ack = flags.contains(TcpFlags::ACK).then_some(1);
    ScriptPayload::Tcp(ScriptSegment { flags, seq, len, ack, window: None, options: Vec::new() })
}
