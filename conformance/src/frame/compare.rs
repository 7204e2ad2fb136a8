//! Device by device: did both sides see the same frames in the same order?

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::Ipv4Addr;
use std::time::Duration;

use sim::wire::arp::ArpOperation;
use sim::wire::{MacAddr, TcpFlags};

use super::{
    Body, Direction, Frame, FrameSummary, IcmpRest, InitialSeqs, IpSummary, PayloadSummary, SeqSummary,
    TcpSummary,
};

/// One of the two that are compared.
#[derive(Debug, Clone, Copy)]
pub struct Observer<'a> {
    /// What it is called: `simulator`, `kernel`.
    pub name: &'a str,
    /// Every frame that it saw, in its order.
    pub frames: &'a [Frame],
}

/// The first difference on a device, within one conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrameDifference {
    /// The node's name.
    pub netns: String,
    /// The device.
    pub device: String,
    /// The conversation.
    pub conversation: Conversation,
    /// When the earlier of the two frames was there.
    pub at: Duration,
    /// Position of the frame among those of its conversation and direction that count, from 1.
    pub position: usize,
    /// Name of the first side, and what it saw there; `None` for nothing more.
    pub left: (String, Option<FrameSummary>),
    /// The same of the second side.
    pub right: (String, Option<FrameSummary>),
}

/// What a comparison comes to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Comparison {
    /// At most one frame for each device, direction and conversation, in the order of time, so that the cause comes before its
    /// effects.
    pub differences: Vec<FrameDifference>,
    /// By when everything that may yet become a difference is one, unless the other side does the same. `None`: there is nothing
    /// of that sort.
    pub undecided_until: Option<Duration>,
}

/// Where the two sides differ.
///
/// Three things are free. Frames of different conversations may come in any order, and so may frames of different directions:
/// a server closes when it pleases, and the client may have begun the next connection by then. A pure acknowledgment may be left out where a later segment
/// acknowledges as much; but never the last one of a handshake, on which the state of conntrack depends. ARP is compared
/// by who asks and who answers, not by how often and when: neighbours are confirmed and forgotten by timers that the
/// kernel draws at random.
///
/// Clocks of the two sides begin together, and it is `now` on both. What one has sent a moment ago the other may be about to
/// send; so it is no difference for 0.1 s and an eighth of the conversation's age.
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

/// How much later than one side the other may send the same, in a conversation of that age. A timer of Linux fires late by up
/// to an eighth of its length (kernel/time/timer.c), and a machine may be busy.
fn lateness(age: Duration) -> Duration {
    BUSY + age / 8
}

/// How long a machine may be busy with other things.
const BUSY: Duration = Duration::from_millis(100);

/// Frames of ARP are not in the order of time.
fn first_at(thread: &Thread) -> Option<Duration> {
    thread.iter().map(|(at, _)| *at).min()
}

/// Frames of one conversation on one device, in their order, with their times.
type Thread = Vec<(Duration, FrameSummary)>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Key<'a> {
    netns: &'a str,
    device: &'a str,
    /// What a device receives and what it sends are two sequences: which of two frames that pass each other comes first is
    /// chance. None for ARP, of which the order does not count at all.
    direction: Option<Direction>,
    conversation: Conversation,
}

/// What frames have in common of which the order counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Conversation {
    /// ARP as a whole.
    Arp,
    /// IP between these ends, in either direction; an ICMP error belongs to the packet that it is about.
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
    let mut threads: BTreeMap<Key<'_>, Thread> = BTreeMap::new();
    for frame in frames {
        let Some(summary) = FrameSummary::of(frame, &initial) else { continue };
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

/// Where two threads part.
struct Parting {
    position: usize,
    /// When the earlier of the two frames was there.
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

/// When that of two frames was there which shows that the sides differ: the earlier one. But an acknowledgment may yet be
/// found superfluous, when the later segment that the other side has got already comes here too.
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

/// The earliest question or answer that only one side has.
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

/// Leaves out pure acknowledgments that a later segment of the same direction makes superfluous.
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
            // Whatever came before belongs to an earlier connection of the same addresses and ports.
            highest.remove(&key);
        }
    }
    let mut keep = is_kept.into_iter().rev();
    frames.retain(|_| keep.next().unwrap_or(true));
    frames
}

/// One direction of a connection on one way through a device: with a hairpin, the same segment passes twice.
type StreamKey = (Direction, MacAddr, MacAddr, [u8; 4], [u8; 4], (u16, u16));

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

/// Each question and each answer once; those that confirm a known neighbour are left out.
fn askers_and_answerers(frames: Vec<(Duration, FrameSummary)>) -> Vec<(Duration, FrameSummary)> {
    let mut known: BTreeMap<_, (Duration, FrameSummary)> = BTreeMap::new();
    // Questions to neighbours that are known already. Several may be open at once.
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
