//! Plays scripts of raw packets on any arm: sends packets and checks the replies.

mod arrival;
mod build;
mod reassembly;

use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::time::Duration;

use sim::ids::SocketId;
use sim::wire::TcpFlags;

use super::ArmError;
use crate::observation::{Mismatch, Transport};
use crate::prepare::ScriptPlan;
use crate::scenario::segment::{
    ScriptEcho, ScriptIcmp, ScriptIcmpError, ScriptLine, ScriptPacket, ScriptPayload, ScriptSegment,
};
use arrival::Arrival;
use reassembly::Reassembly;

pub(crate) use build::known_packets;

/// The initial sequence number of every script.
pub(crate) const INITIAL_SEQ: u32 = 1_000_000_000;

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
/// frames before this rule. `None` for ICMP: echo replies without a socket are dropped silently (`ping_rcv`,
/// net/ipv4/ping.c); and for a node, whose script has a socket on the port instead, because it gets only what no rule drops.
pub(crate) fn silencer(plan: &ScriptPlan, action: Silence) -> Option<String> {
    match plan.transport {
        Transport::Tcp | Transport::Udp | Transport::Sctp if !plan.is_from_node() => {}
        Transport::Tcp | Transport::Udp | Transport::Sctp | Transport::Icmp => return None,
    }
    let flag = match action {
        Silence::Begins => "-A",
        Silence::Ends => "-D",
    };
    let protocol = plan.transport.name();
    Some(format!("*raw\n{flag} PREROUTING -p {protocol} --dport {} -j DROP\nCOMMIT\n", plan.source_port))
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
    /// The last packet of the peer that a line has consumed, starting with its IP header.
    last_packet: Option<Box<[u8]>>,
    /// Fragments of packets that are not complete.
    reassembly: Reassembly,
    /// Received frames that no line has consumed.
    arrived: VecDeque<Box<[u8]>>,
    /// The simulator's socket that keeps the port of a node's script, so that its UDP does not answer.
    pub(super) port_keeper: Option<SocketId>,
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
                let number = plan.lines_before + number;
                match build::packets(plan, player.state, number, packet, *is_checksum_bad) {
                    Some(packets) => send(wire, plan, &packets)?,
                    None => Some("no packet has arrived that it could quote".to_owned()),
                }
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

/// Sends packets; returns what the sender's kernel does instead.
fn send(wire: &mut impl Wire, plan: &ScriptPlan, packets: &[Vec<u8>]) -> Result<Option<String>, ArmError> {
    for packet in packets {
        if !wire.send(packet, *plan.to.ip())? {
            return Ok(Some("the sender's own kernel drops it".to_owned()));
        }
    }
    Ok(None)
}

/// The state of a running script.
struct Player<'a> {
    plan: &'a ScriptPlan,
    state: &'a mut ScriptState,
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
                    return Ok(expected.map(|_| self.nothing_arrived()));
                }
                continue;
            };
            let Some(arrival) = Arrival::of(self.plan, self.state, &frame) else { continue };
            match expected {
                // A kernel may acknowledge before or in its response.
                Some(expected) if is_pure_ack(&arrival.packet) && !is_pure_ack(expected) => {}
                Some(expected) => return Ok(self.judge(expected, &arrival)),
                None => return Ok(Some(self.words(&arrival, None))),
            }
        }
    }

    fn nothing_arrived(&self) -> String {
        let fragments = self.state.reassembly.fragments();
        if fragments.is_empty() {
            return "no packet arrived".to_owned();
        }
        let fragments: Vec<String> = fragments.iter().map(ToString::to_string).collect();
        format!("no packet arrived, only fragments {}", fragments.join(", "))
    }

    /// Checks a received packet; returns the differences.
    fn judge(&self, expected: &ScriptPacket, arrival: &Arrival) -> Option<String> {
        let fits =
            fits(expected, &arrival.packet) && (self.is_from_peer(arrival) || is_from_elsewhere(expected));
        (!fits).then(|| self.words(arrival, Some(expected)))
    }

    fn is_from_peer(&self, arrival: &Arrival) -> bool {
        arrival.peer == self.plan.to
    }

    /// Describes a received packet as a script line, with every field of the expected line.
    fn words(&self, arrival: &Arrival, expected: Option<&ScriptPacket>) -> String {
        let mut words = ScriptLine::Expect(reduced(&arrival.packet, expected)).to_string();
        if !self.is_from_peer(arrival) {
            let about = match arrival.packet.payload {
                ScriptPayload::Icmp(ScriptIcmp::Error(_)) => "about a packet to",
                ScriptPayload::Icmp(ScriptIcmp::Echo(_))
                | ScriptPayload::Tcp(_)
                | ScriptPayload::Udp { .. } => "from",
            };
            let peer = arrival.peer;
            match self.plan.transport {
                Transport::Icmp => words.push_str(&format!(", {about} {}", peer.ip())),
                Transport::Tcp | Transport::Udp | Transport::Sctp => {
                    words.push_str(&format!(", {about} {peer}"));
                }
            }
        }
        words
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
        ScriptPayload::Tcp(_) | ScriptPayload::Udp { .. } | ScriptPayload::Icmp(ScriptIcmp::Echo(_)) => {
            expected.src.is_some()
        }
        // The sender of an error and the destination of the quoted packet are unrelated.
        ScriptPayload::Icmp(ScriptIcmp::Error(_)) => false,
    }
}

/// True if a packet has all the fields that the expected one has.
fn fits(expected: &ScriptPacket, found: &ScriptPacket) -> bool {
    reduced(found, Some(expected)) == *expected
}

/// A packet without the fields that the expected one does not have.
fn reduced(found: &ScriptPacket, expected: Option<&ScriptPacket>) -> ScriptPacket {
    ScriptPacket {
        payload: reduced_payload(&found.payload, expected.map(|expected| &expected.payload)),
        ttl: found.ttl.filter(|_| expected.is_some_and(|expected| expected.ttl.is_some())),
        src: found.src.filter(|_| expected.is_some_and(|expected| expected.src.is_some())),
        dont_fragment: found
            .dont_fragment
            .filter(|_| expected.is_some_and(|expected| expected.dont_fragment.is_some())),
        ident: None,
        fragments: found.fragments.filter(|_| expected.is_some_and(|expected| expected.fragments.is_some())),
    }
}

fn reduced_payload(found: &ScriptPayload, expected: Option<&ScriptPayload>) -> ScriptPayload {
    match found {
        ScriptPayload::Tcp(found) => {
            let expected = expected.and_then(|expected| match expected {
                ScriptPayload::Tcp(segment) => Some(segment),
                ScriptPayload::Udp { .. } | ScriptPayload::Icmp(_) => None,
            });
            let has_window = expected.is_some_and(|expected| expected.window.is_some());
            let has_options = expected.is_some_and(|expected| !expected.options.is_empty());
            ScriptPayload::Tcp(ScriptSegment {
                window: found.window.filter(|_| has_window),
                options: if has_options { found.options.clone() } else { Vec::new() },
                ..found.clone()
            })
        }
        ScriptPayload::Udp { len } => ScriptPayload::Udp { len: *len },
        ScriptPayload::Icmp(found) => {
            let expected = expected.and_then(|expected| match expected {
                ScriptPayload::Icmp(message) => Some(message),
                ScriptPayload::Tcp(_) | ScriptPayload::Udp { .. } => None,
            });
            ScriptPayload::Icmp(reduced_icmp(found, expected))
        }
    }
}

fn reduced_icmp(found: &ScriptIcmp, expected: Option<&ScriptIcmp>) -> ScriptIcmp {
    let (echo, error) = match expected {
        Some(ScriptIcmp::Echo(echo)) => (Some(echo), None),
        Some(ScriptIcmp::Error(error)) => (None, Some(error)),
        None => (None, None),
    };
    match found {
        ScriptIcmp::Echo(found) => {
            let seq = found.seq.filter(|_| echo.is_some_and(|echo| echo.seq.is_some()));
            ScriptIcmp::Echo(ScriptEcho { seq, ..*found })
        }
        ScriptIcmp::Error(found) => {
            let field = found.field.filter(|_| error.is_some_and(|error| error.field.is_some()));
            let quote = error.and_then(|error| error.quote.as_deref()).and_then(|expected| {
                found.quote.as_ref().map(|found| Box::new(reduced(found, Some(expected))))
            });
            ScriptIcmp::Error(ScriptIcmpError { kind: found.kind, field, quote })
        }
    }
}

#[cfg(test)]
mod tests;
