//! Plays scripts of raw packets on any arm: sends packets and checks the replies.

mod build;

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use sim::wire::{
    ETHERNET_HEADER_LEN, EtherType, Ethernet, Icmpv4, Ipv4, Quote, Tcp, TcpFlags, TcpOption, Udp, protocol,
};

use super::ArmError;
use crate::observation::{Mismatch, Transport};
use crate::prepare::ScriptPlan;
use crate::scenario::segment::{
    ScriptIcmpError, ScriptLine, ScriptPacket, ScriptPayload, ScriptSegment, ScriptTcpOption,
};

pub(crate) use build::known_packets;

/// The initial sequence number of every script.
const INITIAL_SEQ: u32 = 1_000_000_000;

/// How long the sender stays silent after the last line, so that late replies are not answered.
const LINGERING: Duration = Duration::from_millis(100);

/// The network access of a sender.
pub(crate) trait Wire {
    /// Sends a packet, starting with its IP header; false if the sender's own kernel drops it.
    fn send(&mut self, packet: &[u8], to: Ipv4Addr) -> Result<bool, ArmError>;

    /// Waits for frames, and returns those received since the last call; none on timeout.
    fn receive(&mut self, within: Duration) -> Result<Vec<Box<[u8]>>, ArmError>;

    /// Waits before a line that sends; `delay` is what the script says.
    fn wait_to_send(&mut self, delay: Duration) -> Result<(), ArmError>;

    /// Waits.
    fn wait(&mut self, duration: Duration) -> Result<(), ArmError>;

    /// The current time, relative to an arbitrary origin.
    fn now(&self) -> Duration;
}

/// Input of `iptables-restore --noflush` that silences the sender's own TCP or UDP on the port of a script, or ends
/// that. Otherwise it would answer replies to packets it did not send with a RST or an ICMP error. Packet sockets see
/// frames before this rule.
pub(crate) fn silencer(plan: &ScriptPlan, action: Silence) -> String {
    let flag = match action {
        Silence::Begins => "-A",
        Silence::Ends => "-D",
    };
    let protocol = plan.transport.name();
    format!("*raw\n{flag} PREROUTING -p {protocol} --dport {} -j DROP\nCOMMIT\n", plan.source_port)
}

/// The action of [`silencer`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Silence {
    /// Silence the sender.
    Begins,
    /// Remove the rule.
    Ends,
}

/// When the script of a step was played on an arm, in times of the run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ScriptPace {
    /// When the first line began.
    pub(crate) begun: Duration,
    /// When each line that sends was about to send; fewer if the script ended early.
    pub(crate) sent_at: Vec<Duration>,
}

/// What a connection keeps from one step to the next.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ScriptState {
    /// The initial sequence number of the peer, once known.
    peer_initial: Option<u32>,
    /// Received frames that no line has consumed.
    arrived: VecDeque<Box<[u8]>>,
}

impl ScriptState {
    /// Adds frames that arrived between two steps.
    pub(crate) fn add_arrived(&mut self, frames: impl IntoIterator<Item = Box<[u8]>>) {
        self.arrived.extend(frames);
    }
}

/// Plays a script to its end, or to the first line that does not go as written.
pub(crate) fn play(
    plan: &ScriptPlan,
    state: &mut ScriptState,
    wire: &mut impl Wire,
) -> Result<Option<Mismatch>, ArmError> {
    let mut player = Player { plan, state };
    let mut mismatch = None;
    for (line, number) in plan.lines.iter().zip(1..) {
        let found = match line {
            ScriptLine::Send { delay, packet, is_checksum_bad } => {
                wire.wait_to_send(*delay)?;
                let peer_initial = player.state.peer_initial.unwrap_or(0);
                let bytes =
                    build::packet(plan, plan.lines_before + number, packet, *is_checksum_bad, peer_initial);
                let is_sent = wire.send(&bytes, *plan.to.ip())?;
                (!is_sent).then(|| "the sender's own kernel drops it".to_owned())
            }
            ScriptLine::Expect(expected) => player.await_packet(wire, Some(expected))?,
            ScriptLine::ExpectNothing => player.await_packet(wire, None)?,
        };
        if let Some(found) = found {
            mismatch = Some(Mismatch { number, line: line.to_string(), found });
            break;
        }
    }
    wire.wait(LINGERING)?;
    Ok(mismatch)
}

/// The state of a running script.
struct Player<'a> {
    plan: &'a ScriptPlan,
    state: &'a mut ScriptState,
}

/// A packet received for the script.
struct Arrival {
    packet: ScriptPacket,
    /// Its sender; for an ICMP error, the destination of the quoted packet.
    peer: SocketAddrV4,
}

impl Player<'_> {
    /// Waits for this packet, or for none; returns what arrived instead.
    fn await_packet(
        &mut self,
        wire: &mut impl Wire,
        expected: Option<&ScriptPacket>,
    ) -> Result<Option<String>, ArmError> {
        let deadline = wire.now() + self.plan.timeout;
        loop {
            let Some(frame) = self.state.arrived.pop_front() else {
                let left = deadline.saturating_sub(wire.now());
                self.state.add_arrived(wire.receive(left)?);
                if self.state.arrived.is_empty() {
                    return Ok(expected.map(|_| "no packet arrived".to_owned()));
                }
                continue;
            };
            let Some(arrival) = self.arrival(&frame) else { continue };
            match expected {
                // A kernel may acknowledge before or in its response.
                Some(expected) if is_pure_ack(&arrival.packet) && !is_pure_ack(expected) => {}
                Some(expected) => return Ok(self.judge(expected, &arrival)),
                None => return Ok(Some(self.words(&arrival, None))),
            }
        }
    }

    /// Checks a received packet; returns the differences.
    fn judge(&self, expected: &ScriptPacket, arrival: &Arrival) -> Option<String> {
        let found = &arrival.packet;
        let is_same = |named: Option<u8>, found: Option<u8>| named.is_none() || named == found;
        let fits = same_payload(&expected.payload, &found.payload)
            && is_same(expected.ttl, found.ttl)
            && (expected.dont_fragment.is_none() || expected.dont_fragment == found.dont_fragment)
            && (expected.src.is_none() || expected.src == found.src)
            && (self.is_from_peer(arrival) || is_from_elsewhere(expected));
        (!fits).then(|| self.words(arrival, Some(expected)))
    }

    fn is_from_peer(&self, arrival: &Arrival) -> bool {
        arrival.peer == self.plan.to
    }

    /// Describes a received packet as a script line, with every field of the expected line.
    fn words(&self, arrival: &Arrival, expected: Option<&ScriptPacket>) -> String {
        let mut packet = arrival.packet.clone();
        let named = |is_named: fn(&ScriptPacket) -> bool| expected.is_some_and(is_named);
        packet.ttl = packet.ttl.filter(|_| named(|expected| expected.ttl.is_some()));
        packet.src = packet.src.filter(|_| named(|expected| expected.src.is_some()));
        packet.dont_fragment =
            packet.dont_fragment.filter(|_| named(|expected| expected.dont_fragment.is_some()));
        if let ScriptPayload::Tcp(segment) = &mut packet.payload {
            let own = expected.and_then(|expected| match &expected.payload {
                ScriptPayload::Tcp(own) => Some(own),
                ScriptPayload::Udp { .. } | ScriptPayload::Icmp(_) => None,
            });
            segment.window = segment.window.filter(|_| own.is_some_and(|own| own.window.is_some()));
            if own.is_none_or(|own| own.options.is_empty()) {
                segment.options.clear();
            }
        }
        let mut words = ScriptLine::Expect(packet).to_string();
        if !self.is_from_peer(arrival) {
            let about = match arrival.packet.payload {
                ScriptPayload::Icmp(_) => "about a packet to",
                ScriptPayload::Tcp(_) | ScriptPayload::Udp { .. } => "from",
            };
            words.push_str(&format!(", {about} {}", arrival.peer));
        }
        words
    }

    /// The packet of a frame, if it belongs to the script.
    fn arrival(&mut self, frame: &[u8]) -> Option<Arrival> {
        let is_ip = Ethernet::new_checked(frame)?.ethertype() == EtherType::Ipv4;
        let ip = Ipv4::new_checked(frame.get(ETHERNET_HEADER_LEN..)?).filter(|_| is_ip)?;
        if ip.dst() != self.plan.client {
            return None;
        }
        let (payload, peer) = match (ip.protocol(), self.plan.transport) {
            (protocol::TCP, Transport::Tcp) => {
                let tcp =
                    Tcp::new_checked(ip.payload()).filter(|tcp| tcp.dst_port() == self.plan.source_port)?;
                (ScriptPayload::Tcp(self.segment(&tcp)), SocketAddrV4::new(ip.src(), tcp.src_port()))
            }
            (protocol::UDP, Transport::Udp) => {
                let udp =
                    Udp::new_checked(ip.payload()).filter(|udp| udp.dst_port() == self.plan.source_port)?;
                let len = u16::try_from(udp.payload().len()).unwrap_or(u16::MAX);
                (ScriptPayload::Udp { len }, SocketAddrV4::new(ip.src(), udp.src_port()))
            }
            (protocol::ICMP, _) => {
                let icmp = Icmpv4::new_checked(ip.payload()).filter(Icmpv4::is_error)?;
                let error = ScriptIcmpError { icmp_type: icmp.icmp_type(), code: icmp.code() };
                (ScriptPayload::Icmp(error), self.quoted(icmp.payload())?)
            }
            _ => return None,
        };
        let packet = ScriptPacket {
            payload,
            ttl: Some(ip.ttl()),
            src: Some(ip.src()),
            dont_fragment: Some(ip.dont_fragment()),
        };
        Some(Arrival { packet, peer })
    }

    /// The destination of the quoted packet, if it is one of the script's.
    fn quoted(&self, quote: &[u8]) -> Option<SocketAddrV4> {
        let quote = Quote::parse(quote)?;
        let (ip, (src_port, dst_port)) = (quote.ip, quote.ports()?);
        let is_own = match self.plan.transport {
            Transport::Tcp => ip.protocol() == protocol::TCP,
            Transport::Udp => ip.protocol() == protocol::UDP,
            Transport::Sctp | Transport::Icmp => false,
        };
        (is_own && src_port == self.plan.source_port).then(|| SocketAddrV4::new(ip.dst(), dst_port))
    }

    /// The segment with numbers relative to the initial ones, which SYNs carry.
    fn segment(&mut self, tcp: &Tcp<&[u8]>) -> ScriptSegment {
        let flags = tcp.flags();
        if flags.contains(TcpFlags::SYN) {
            self.state.peer_initial = Some(tcp.sequence());
        }
        ScriptSegment {
            flags,
            seq: tcp.sequence().wrapping_sub(self.state.peer_initial.unwrap_or(0)),
            len: u16::try_from(tcp.payload().len()).unwrap_or(u16::MAX),
            ack: flags.contains(TcpFlags::ACK).then(|| tcp.acknowledgment().wrapping_sub(INITIAL_SEQ)),
            window: Some(tcp.window()),
            options: TcpOption::iter(tcp.options()).map(ScriptTcpOption::from).collect(),
        }
    }
}

fn is_pure_ack(packet: &ScriptPacket) -> bool {
    match &packet.payload {
        ScriptPayload::Tcp(segment) => segment.flags == TcpFlags::ACK && segment.len == 0,
        ScriptPayload::Udp { .. } | ScriptPayload::Icmp(_) => false,
    }
}

/// True if the line names a sender other than the destination.
fn is_from_elsewhere(expected: &ScriptPacket) -> bool {
    match expected.payload {
        ScriptPayload::Tcp(_) | ScriptPayload::Udp { .. } => expected.src.is_some(),
        // The sender of an error and the destination of the quoted packet are unrelated.
        ScriptPayload::Icmp(_) => false,
    }
}

fn same_payload(expected: &ScriptPayload, found: &ScriptPayload) -> bool {
    match (expected, found) {
        (ScriptPayload::Tcp(expected), ScriptPayload::Tcp(found)) => {
            let window = expected.window.or(found.window);
            let options = if expected.options.is_empty() { &found.options } else { &expected.options };
            *found == ScriptSegment { window, options: options.clone(), ..expected.clone() }
        }
        (ScriptPayload::Udp { .. } | ScriptPayload::Icmp(_) | ScriptPayload::Tcp(_), _) => expected == found,
    }
}

#[cfg(test)]
mod tests;
