//! Sequence numbers relative to the initial ones, which are random.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::Duration;

use sim::wire::{ETHERNET_HEADER_LEN, EtherType, Ethernet, Icmpv4, Ipv4, Quote, Tcp, TcpFlags, protocol};

use crate::arm::script::INITIAL_SEQ;
use crate::frame::Frame;

/// A sequence number without its random part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SeqSummary {
    /// Offset from the initial sequence number of a connection in this run.
    FromInitial(u32),
    /// An absolute number: zero in many resets, or crafted.
    Plain(u32),
}

/// The initial sequence numbers of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InitialSeqs {
    /// By sender and receiver, with the times of the SYNs, in order.
    by_stream: BTreeMap<Stream, Vec<(Duration, u32)>>,
    /// Of all streams: NAT changes addresses, but no sequence numbers.
    all: BTreeSet<u32>,
}

/// Source and destination of one direction of a connection, at some point of its path.
type Stream = [(Ipv4Addr, u16); 2];

/// Larger than the data of any connection of a scenario in one direction.
const LARGEST_STREAM: u32 = 1 << 16;

/// How far above [`INITIAL_SEQ`] a number counts as a script's: a little more than the farthest number of the scripts of
/// random clusters, 100,000, and their data. The window is small, because the random number of a connection is in it
/// with a probability of 2^-15.
const SCRIPT_NUMBERS: u32 = 1 << 17;

impl InitialSeqs {
    /// Collected from all SYNs in these frames and in ICMP errors: a SYN that its sender's own rules reject appears on
    /// no device.
    pub fn of(frames: &[Frame]) -> Self {
        let mut initial = Self::default();
        for frame in frames {
            if let Some((stream, seq)) = syn(&frame.bytes) {
                initial.all.insert(seq);
                initial.by_stream.entry(stream).or_default().push((frame.at, seq));
            }
        }
        for seqs in initial.by_stream.values_mut() {
            seqs.sort_unstable();
            seqs.dedup_by_key(|(_, seq)| *seq);
        }
        initial
    }

    /// As far as they were known at a time.
    pub(super) const fn until(&self, at: Duration) -> InitialSeqsUntil<'_> {
        InitialSeqsUntil { initial: self, at }
    }
}

/// Initial sequence numbers at a time.
#[derive(Clone, Copy)]
pub(super) struct InitialSeqsUntil<'a> {
    initial: &'a InitialSeqs,
    at: Duration,
}

impl<'a> InitialSeqsUntil<'a> {
    /// For the numbers of a segment.
    pub(super) fn of_segment(self, ip: &Ipv4<&[u8]>, tcp: &Tcp<&[u8]>) -> SegmentOrigins<'a> {
        let [src, dst] = stream(ip, tcp);
        let seqs = |stream| self.initial.by_stream.get(&stream).map_or(&[][..], Vec::as_slice);
        SegmentOrigins { initial: self, own: seqs([src, dst]), peer: seqs([dst, src]) }
    }
}

/// What the numbers of a segment may be relative to.
#[derive(Clone, Copy)]
pub(super) struct SegmentOrigins<'a> {
    initial: InitialSeqsUntil<'a>,
    /// SYNs of the sender, with their times.
    own: &'a [(Duration, u32)],
    /// SYNs of the receiver.
    peer: &'a [(Duration, u32)],
}

impl SegmentOrigins<'_> {
    /// A sequence number of the sender.
    pub(super) fn own(self, seq: u32) -> SeqSummary {
        self.summary(self.own, seq)
    }

    /// A sequence number of the receiver, which the sender acknowledges.
    pub(super) fn peer(self, seq: u32) -> SeqSummary {
        self.summary(self.peer, seq)
    }

    fn summary(self, syns: &[(Duration, u32)], seq: u32) -> SeqSummary {
        let near = syns.iter().map(|(_, initial)| seq.wrapping_sub(*initial)).min();
        if let Some(distance) = near.filter(|distance| *distance < LARGEST_STREAM) {
            return SeqSummary::FromInitial(distance);
        }
        match syns.partition_point(|(at, _)| *at <= self.initial.at).checked_sub(1) {
            // Small numbers are not random: resets in reply to segments without ACK have zero (RFC 9293 §3.10.7.1),
            // and a script may not know the peer's initial number.
            Some(_) if seq < LARGEST_STREAM => SeqSummary::Plain(seq),
            // A script goes on with the numbers of its first SYN although NAT gave a later one another port; or it sends
            // numbers that may be anywhere. Or it forges the addresses and ports of a connection, but not its numbers.
            Some(last) => match self.of_any_stream(seq) {
                near @ SeqSummary::FromInitial(_) => near,
                forged @ SeqSummary::Plain(_) if is_of_script(seq) => forged,
                SeqSummary::Plain(_) => SeqSummary::FromInitial(seq.wrapping_sub(syns[last].1)),
            },
            None => self.of_any_stream(seq),
        }
    }

    /// A number of a segment whose connection has other addresses where its SYN was seen, or none that was seen.
    fn of_any_stream(self, seq: u32) -> SeqSummary {
        let all = &self.initial.initial.all;
        // Sequence numbers wrap: use the nearest initial number at or below, or else the highest of all.
        let below = all.range(..=seq).next_back().or_else(|| all.iter().next_back());
        below
            .map(|initial| seq.wrapping_sub(*initial))
            // The reset again, even if a connection started shortly before zero.
            .filter(|distance| *distance < LARGEST_STREAM && (seq != 0 || *distance == 0))
            .map_or(SeqSummary::Plain(seq), SeqSummary::FromInitial)
    }
}

/// True if a script probably sent this number: it is the same in all runs. The caller tries the initial numbers of
/// connections first, so that their own segments never count as a script's. If one of these numbers is by chance at or
/// less than [`LARGEST_STREAM`] below a forged number, that is still taken as relative to it; the probability is 2^-16
/// for each connection.
const fn is_of_script(seq: u32) -> bool {
    seq.wrapping_sub(INITIAL_SEQ) < SCRIPT_NUMBERS
}

/// Stream and sequence number of the SYN in a frame, or of the one that an ICMP error quotes.
fn syn(frame: &[u8]) -> Option<(Stream, u32)> {
    let is_ip = Ethernet::new_checked(frame)?.ethertype() == EtherType::Ipv4;
    let ip = Ipv4::new_checked(frame.get(ETHERNET_HEADER_LEN..)?).filter(|_| is_ip)?;
    syn_in(&ip, ip.payload()).or_else(|| quoted_syn(&ip))
}

fn syn_in(ip: &Ipv4<&[u8]>, payload: &[u8]) -> Option<(Stream, u32)> {
    let is_whole_tcp = ip.protocol() == protocol::TCP && ip.fragment_offset() == 0;
    let tcp = Tcp::new_checked(payload).filter(|_| is_whole_tcp)?;
    tcp.flags().contains(TcpFlags::SYN).then(|| (stream(ip, &tcp), tcp.sequence()))
}

fn quoted_syn(ip: &Ipv4<&[u8]>) -> Option<(Stream, u32)> {
    let icmp = Icmpv4::new_checked(ip.payload()).filter(|_| ip.protocol() == protocol::ICMP)?;
    let quote = Quote::parse(icmp.payload()).filter(|_| icmp.is_error())?;
    syn_in(&quote.ip, quote.l4)
}

fn stream(ip: &Ipv4<&[u8]>, tcp: &Tcp<&[u8]>) -> Stream {
    [(ip.src(), tcp.src_port()), (ip.dst(), tcp.dst_port())]
}
