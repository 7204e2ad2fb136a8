//! Compares the frames of both sides, device by device.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::Ipv4Addr;
use std::time::Duration;

use sim::wire::arp::ArpOperation;
use sim::wire::{MacAddr, TcpFlags};

use super::fragment::FirstFragments;
use super::{
    Body, Frame, FrameDirection, FrameSummary, IcmpRest, InitialSeqs, IpSummary, PayloadSummary, SeqSummary,
    TcpSummary,
};

/// One of the two sides.
#[derive(Debug, Clone, Copy)]
pub struct Observer<'a> {
    /// Its name: `simulator` or `kernel`.
    pub name: &'a str,
    /// All its frames, in order.
    pub frames: &'a [Frame],
}

/// The first difference on a device, within one flow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrameDifference {
    /// The node's name.
    pub netns: String,
    /// The device.
    pub device: String,
    /// The flow.
    pub conversation: Conversation,
    /// The time of the earlier of the two frames.
    pub at: Duration,
    /// Position of the frame among the relevant ones of its flow and direction, from 1.
    pub position: usize,
    /// Name of the first side, and its frame; `None` if it has no more.
    pub left: (String, Option<FrameSummary>),
    /// Name of the second side, and its frame.
    pub right: (String, Option<FrameSummary>),
}

/// The result of a comparison.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Comparison {
    /// At most one difference per device, direction and flow, in time order, so that causes precede effects.
    pub differences: Vec<FrameDifference>,
    /// When all pending frames become differences, unless the other side sends them too. `None` if there are none.
    pub undecided_until: Option<Duration>,
}

/// Compares both sides.
///
/// Three things are not compared. The relative order of frames of different flows, or of different directions: a server
/// closes when it chooses, and the client may have started the next connection by then. Pure ACKs that a later segment
/// makes redundant, except the last one of a handshake, on which the conntrack state depends. The number and times of
/// ARP messages: neighbours are confirmed and expire by random timers of the kernel, so only the requesters and
/// responders are compared.
///
/// The clocks of both sides start together, and it is `now` on both. A recent frame of one side may still be sent by
/// the other, so it is not a difference until 0.1 s plus an eighth of the flow's age have passed.
pub fn compare(left: Observer<'_>, right: Observer<'_>, now: Duration) -> Comparison {
    let (left_threads, right_threads) = (threads(left.frames), threads(right.frames));
    let keys: BTreeSet<_> = left_threads.keys().chain(right_threads.keys()).collect();
    let mut comparison = Comparison::default();
    for key in keys {
        let of = |threads: &BTreeMap<Key<'_>, Thread>| threads.get(key).cloned().unwrap_or_default();
        let (first, second) = (of(&left_threads), of(&right_threads));
        let Some(Parting { position, at, sides }) = parting(key.conversation, &first, &second) else {
            continue;
        };
        let begun = first_at(&first).into_iter().chain(first_at(&second)).min().unwrap_or(at);
        let decided_at = at.saturating_add(lateness(at.saturating_sub(begun)));
        if decided_at < now {
            comparison.differences.push(FrameDifference {
                netns: key.netns.to_owned(),
                device: key.device.to_owned(),
                conversation: key.conversation,
                at,
                position: position + 1,
                left: (left.name.to_owned(), sides.0),
                right: (right.name.to_owned(), sides.1),
            });
        } else {
            comparison.undecided_until = comparison.undecided_until.max(Some(decided_at));
        }
    }
    comparison.differences.sort_by_key(|difference| difference.at);
    comparison
}

/// How much later the other side may send the same frame, in a flow of that age. Linux timers may be late by up to an
/// eighth of their length (kernel/time/timer.c), and a machine may be busy.
fn lateness(age: Duration) -> Duration {
    BUSY + age / 8
}

/// Allowance for a busy machine.
const BUSY: Duration = Duration::from_millis(100);

/// ARP frames are not in time order.
fn first_at(thread: &Thread) -> Option<Duration> {
    thread.iter().map(|(at, _)| *at).min()
}

/// Frames of one flow on one device, in order, with their times.
type Thread = Vec<(Duration, FrameSummary)>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Key<'a> {
    netns: &'a str,
    device: &'a str,
    /// Received and sent frames are two sequences: the order of two frames that cross is random. `None` for ARP, whose
    /// order is ignored.
    direction: Option<FrameDirection>,
    conversation: Conversation,
}

/// The frames among which the order is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Conversation {
    /// ARP as a whole.
    Arp,
    /// IP between these endpoints, in either direction; an ICMP error belongs to the flow of the quoted packet.
    Ip([(Ipv4Addr, u16); 2]),
    /// Anything else, by EtherType.
    Other(u16),
}

impl Conversation {
    fn of(body: &Body) -> Self {
        match body {
            Body::Arp(_) => Self::Arp,
            Body::Ipv4(ip) => Self::of_packet(ip),
            Body::Other { ethertype } => Self::Other(*ethertype),
        }
    }

    fn of_packet(ip: &IpSummary) -> Self {
        let ports = match &ip.payload {
            PayloadSummary::Icmp { rest: IcmpRest::Error { quote: Some(quote), .. }, .. } => {
                return Self::of_packet(quote);
            }
            PayloadSummary::Icmp { rest: IcmpRest::Query { id, .. }, .. } => (*id, *id),
            PayloadSummary::Tcp(_) | PayloadSummary::Udp { .. } | PayloadSummary::Ports { .. } => {
                ip.payload.ports().unwrap_or_default()
            }
            PayloadSummary::Icmp { rest: IcmpRest::Error { quote: None, .. }, .. }
            | PayloadSummary::Other { .. } => (0, 0),
        };
        let mut ends = [(ip.src, ports.0), (ip.dst, ports.1)];
        ends.sort_unstable();
        Self::Ip(ends)
    }
}

fn threads(frames: &[Frame]) -> BTreeMap<Key<'_>, Thread> {
    let initial = InitialSeqs::of(frames);
    let firsts = FirstFragments::of(frames);
    let mut threads: BTreeMap<Key<'_>, Thread> = BTreeMap::new();
    for (position, frame) in frames.iter().enumerate() {
        let Some(mut summary) = FrameSummary::of(frame, &initial) else { continue };
        firsts.restore(position, frame, &mut summary);
        let conversation = Conversation::of(&summary.body);
        let direction = (conversation != Conversation::Arp).then_some(frame.direction);
        let key = Key { netns: &frame.netns, device: &frame.device, direction, conversation };
        threads.entry(key).or_default().push((frame.at, summary));
    }
    let what_counts = |(key, thread): (_, Thread)| {
        let Key { conversation, .. } = key;
        let thread = match conversation {
            Conversation::Arp => askers_and_answerers(thread),
            Conversation::Ip(_) => without_spare_acks(thread),
            Conversation::Other(_) => thread,
        };
        (key, thread)
    };
    threads.into_iter().map(what_counts).collect()
}

/// The position where two sequences differ.
struct Parting {
    position: usize,
    /// The time of the earlier of the two frames.
    at: Duration,
    sides: (Option<FrameSummary>, Option<FrameSummary>),
}

fn parting(conversation: Conversation, first: &Thread, second: &Thread) -> Option<Parting> {
    match conversation {
        Conversation::Arp => arp_parting(first, second),
        Conversation::Ip(_) | Conversation::Other(_) => {
            let is_same =
                |((_, left), (_, right)): &(&(Duration, FrameSummary), &(Duration, FrameSummary))| {
                    left == right
                };
            let position = first.iter().zip(second).take_while(is_same).count();
            let (left, right) = (first.get(position), second.get(position));
            let at = parted_at(left, right)?;
            let frame = |side: Option<&(Duration, FrameSummary)>| side.map(|(_, frame)| frame.clone());
            Some(Parting { position, at, sides: (frame(left), frame(right)) })
        }
    }
}

/// The time of the frame that reveals the difference: the earlier one. But a pure ACK may still become redundant, once
/// the later segment that the other side has arrives here too.
fn parted_at(
    left: Option<&(Duration, FrameSummary)>,
    right: Option<&(Duration, FrameSummary)>,
) -> Option<Duration> {
    match (left, right) {
        (Some((left_at, left)), Some((right_at, right))) => {
            Some(match (may_be_spare(left), may_be_spare(right)) {
                (true, false) => *right_at,
                (false, true) => *left_at,
                (true, true) | (false, false) => *left_at.min(right_at),
            })
        }
        (Some((at, _)), None) | (None, Some((at, _))) => Some(*at),
        (None, None) => None,
    }
}

fn may_be_spare(frame: &FrameSummary) -> bool {
    acknowledgment(frame).is_some_and(|(_, tcp, _)| tcp.is_pure_ack() && !ends_handshake(tcp))
}

/// The earliest request or reply that only one side has.
fn arp_parting(first: &Thread, second: &Thread) -> Option<Parting> {
    let is_in = |frame: &FrameSummary, thread: &Thread| thread.iter().any(|(_, other)| other == frame);
    let alone = |thread: &Thread, other: &Thread| {
        let own = thread.iter().enumerate().filter(|(_, (_, frame))| !is_in(frame, other));
        own.map(|(position, (at, frame))| (*at, position, frame.clone())).min_by_key(|(at, ..)| *at)
    };
    match (alone(first, second), alone(second, first)) {
        (Some((at, position, frame)), right) if right.as_ref().is_none_or(|(other, ..)| at <= *other) => {
            Some(Parting { position, at, sides: (Some(frame), None) })
        }
        (_, Some((at, position, frame))) => Some(Parting { position, at, sides: (None, Some(frame)) }),
        (Some(_) | None, None) => None,
    }
}

/// Removes pure ACKs that a later segment in the same direction makes redundant.
fn without_spare_acks(mut frames: Vec<(Duration, FrameSummary)>) -> Vec<(Duration, FrameSummary)> {
    let mut highest: BTreeMap<StreamKey, SeqSummary> = BTreeMap::new();
    let mut is_kept = Vec::with_capacity(frames.len());
    for (_, frame) in frames.iter().rev() {
        let Some((key, tcp, ack)) = acknowledgment(frame) else {
            is_kept.push(true);
            continue;
        };
        let later = highest.get(&key).copied();
        is_kept.push(!tcp.is_pure_ack() || ends_handshake(tcp) || later.is_none_or(|later| later < ack));
        let highest_now = later.map_or(ack, |later| later.max(ack));
        highest.insert(key, highest_now);
        if tcp.flags.contains(TcpFlags::SYN) {
            // Earlier frames belong to a previous connection with the same addresses and ports.
            highest.remove(&key);
        }
    }
    let mut keep = is_kept.into_iter().rev();
    frames.retain(|_| keep.next().unwrap_or(true));
    frames
}

/// One direction of a connection through a device: with a hairpin, the same segment passes twice.
type StreamKey = (FrameDirection, MacAddr, MacAddr, [u8; 4], [u8; 4], (u16, u16));

fn acknowledgment(frame: &FrameSummary) -> Option<(StreamKey, &TcpSummary, SeqSummary)> {
    let Body::Ipv4(IpSummary { src, dst, payload: PayloadSummary::Tcp(tcp), .. }) = &frame.body else {
        return None;
    };
    let key = (frame.direction, frame.src, frame.dst, src.octets(), dst.octets(), tcp.ports);
    tcp.ack.map(|ack| (key, tcp, ack))
}

fn ends_handshake(tcp: &TcpSummary) -> bool {
    let first = SeqSummary::FromInitial(1);
    tcp.seq == first && tcp.ack == Some(first)
}

/// Each request and reply once, without those that confirm a known neighbour.
fn askers_and_answerers(frames: Vec<(Duration, FrameSummary)>) -> Vec<(Duration, FrameSummary)> {
    let mut known: BTreeMap<_, (Duration, FrameSummary)> = BTreeMap::new();
    // Requests to known neighbours. Several may be pending at once.
    let mut confirmed = Vec::new();
    for (at, frame) in frames {
        let Body::Arp(arp) = &frame.body else { continue };
        let is_question = arp.operation == ArpOperation::Request;
        if is_question && frame.dst != MacAddr::BROADCAST {
            confirmed.push((arp.target_ip, arp.sender_ip));
            continue;
        }
        let open = confirmed.iter().position(|ends| *ends == (arp.sender_ip, arp.target_ip));
        if let Some(open) = open.filter(|_| !is_question) {
            confirmed.swap_remove(open);
            continue;
        }
        let key = (arp.sender_ip, arp.target_ip, is_question, frame.direction, frame.src, frame.dst);
        known.entry(key).or_insert((at, frame));
    }
    known.into_values().collect()
}

impl fmt::Display for FrameDifference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { netns, device, conversation: _, at: _, position, left, right } = self;
        write!(formatter, "{netns} {device}, frame {position}:")?;
        for (name, frame) in [left, right] {
            match frame {
                Some(frame) => write!(formatter, "\n  {name}: {frame}")?,
                None => write!(formatter, "\n  {name}: nothing more")?,
            }
        }
        Ok(())
    }
}
