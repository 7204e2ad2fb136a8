//! The reassembly queue of one datagram (`struct ipq`, net/ipv4/ip_fragment.c; `struct inet_frag_queue`,
//! include/net/inet_frag.h).

use super::{Part, end, end_all};
use crate::context::Context;
use crate::drop_reason::DropReason;
use crate::ids::DeviceId;
use crate::mutation::Mutation;
use crate::packet::{Defragmented, Packet, QueuedPacket};
use crate::time::Instant;
use crate::trace::Terminal;
use crate::wire::{ETHERNET_HEADER_LEN, Ipv4};

/// The position of a fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Placement {
    /// Its payload covers these bytes; for the last fragment, `end` is the total length.
    At {
        /// First byte.
        offset: u32,
        /// One past the last byte.
        end: u32,
    },
    /// A duplicate (`IPFRAG_DUP`).
    Known,
    /// It overlaps other fragments, which discards the whole queue (`IPFRAG_OVERLAP`, RFC 5722).
    Wrong,
}

/// Explicit congestion notification, as a set of its four code points (`ip4_frag_ecn`, net/ipv4/ip_fragment.c).
#[derive(Clone, Copy, Debug, Default)]
struct EcnSet(u8);

impl EcnSet {
    const NOT_ECT: u8 = 1;
    const CE: u8 = 8;

    /// The ECN bits of the complete packet; `None` if the set is inconsistent (`ip_frag_ecn_table`,
    /// net/ipv4/inet_fragment.c).
    const fn mark(self) -> Option<u8> {
        if self.0 & Self::NOT_ECT != 0 && self.0 != Self::NOT_ECT {
            return None;
        }
        // Congestion Experienced, if only some of the fragments have it.
        Some(if self.0 & Self::CE != 0 && self.0 != Self::CE { 3 } else { 0 })
    }
}

#[derive(Clone, Debug)]
pub(super) struct Queue {
    pub(super) deadline: Instant,
    /// The ingress device of the last accepted fragment (`iif`).
    pub(super) in_dev: Option<DeviceId>,
    /// The sender's fragment count at the last fragment of this queue. A queue created while distances were unlimited
    /// does not count (`ip4_frag_init`).
    last_arrival: Option<u32>,
    /// Ordered by offset.
    parts: Vec<Part>,
    /// Contiguous bytes, by offset (`FRAG_CB(skb)->frag_run_len`). Adjacent fragments that arrived out of order are
    /// separate runs.
    runs: Vec<(u32, u32)>,
    /// End of the fragment that extended the queue last (`fragments_tail`).
    tail_end: u32,
    /// Total length, as far as known.
    len: u32,
    has_last: bool,
    max_size: u16,
    max_df_size: u16,
    ecn: EcnSet,
    /// The fragment that arrived last.
    newest: u32,
}

impl Queue {
    pub(super) fn new(deadline: Instant, counts_arrivals: bool) -> Self {
        Self {
            deadline,
            in_dev: None,
            last_arrival: counts_arrivals.then_some(0),
            parts: Vec::new(),
            runs: Vec::new(),
            tail_end: 0,
            len: 0,
            has_last: false,
            max_size: 0,
            max_df_size: 0,
            ecn: EcnSet(0),
            newest: 0,
        }
    }

    /// Restarts the queue, and returns its fragments (`ip_frag_reinit`). The recorded sizes are kept, as in the kernel.
    pub(super) fn restart(&mut self, deadline: Instant) -> Vec<Packet> {
        let Self { last_arrival, max_size, max_df_size, .. } = *self;
        let fresh = Self { last_arrival, max_size, max_df_size, ..Self::new(deadline, false) };
        std::mem::replace(self, fresh).into_parts()
    }

    pub(super) const fn counts_arrivals(&self) -> bool {
        self.last_arrival.is_some()
    }

    /// Records the arrival of a fragment, the sender's `count`th. Returns the number of fragments since the last one of
    /// this queue, inclusive.
    pub(super) const fn arrival(&mut self, count: u32) -> u32 {
        match self.last_arrival.replace(count) {
            Some(last) => count.wrapping_sub(last),
            None => 0,
        }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    pub(super) fn has_first(&self) -> bool {
        self.parts.first().is_some_and(|part| part.offset == 0)
    }

    pub(super) fn into_parts(self) -> Vec<Packet> {
        self.parts.into_iter().map(|part| part.packet.0).collect()
    }

    pub(super) fn is_whole(&self) -> bool {
        let meat: u32 = self.parts.iter().map(|part| part.end - part.offset).sum();
        self.has_last && self.has_first() && meat == self.len
    }

    /// Determines the position of a fragment, and updates the total length (`ip_frag_queue`).
    pub(super) fn place(&mut self, packet: &Packet) -> Placement {
        let ip = packet.ipv4();
        let offset = u32::from(ip.fragment_offset());
        let mut end = offset + payload_len(&ip);
        if ip.more_fragments() {
            // All fragments but the last have multiples of eight bytes; the excess is trimmed.
            end &= !7;
            if end > self.len {
                if self.has_last {
                    return Placement::Wrong;
                }
                self.len = end;
            }
        } else {
            if end < self.len || (self.has_last && end != self.len) {
                return Placement::Wrong;
            }
            self.has_last = true;
            self.len = end;
        }
        if end == offset { Placement::Wrong } else { self.find_gap(offset, end) }
    }

    /// Linux: `inet_frag_queue_insert`.
    fn find_gap(&self, offset: u32, end: u32) -> Placement {
        let overlap = Mutation::FragmentOverlapKept.or(Placement::Known, Placement::Wrong);
        if self.tail_end < end {
            return if offset < self.tail_end { overlap } else { Placement::At { offset, end } };
        }
        match self.runs.iter().find(|(first, behind)| offset < *behind && end > *first) {
            None => Placement::At { offset, end },
            Some((first, behind)) if offset >= *first && end <= *behind => Placement::Known,
            Some(_) => overlap,
        }
    }

    pub(super) fn insert(&mut self, offset: u32, end: u32, packet: Packet) {
        let is_next = !self.parts.is_empty() && self.tail_end < end && offset == self.tail_end;
        match self.runs.iter_mut().find(|(_, behind)| is_next && *behind == offset) {
            Some((_, behind)) => *behind = end,
            None => self.runs.push((offset, end)),
        }
        self.tail_end = self.tail_end.max(end);
        let ip = packet.ipv4();
        let size = u16::try_from(end - offset).unwrap_or(u16::MAX).saturating_add(header_len(&ip));
        self.max_size = self.max_size.max(size);
        if ip.dont_fragment() {
            self.max_df_size = self.max_df_size.max(size);
        }
        self.ecn.0 |= 1 << (ip.tos() & 3);
        self.in_dev = packet.meta.in_dev.or(self.in_dev);
        self.newest = offset;
        let at = self.parts.partition_point(|part| part.offset < offset);
        self.parts.insert(at, Part { offset, end, packet: QueuedPacket(packet) });
    }

    /// Reassembles the packet (`ip_frag_reasm`). Fails if it is too long, or if the ECN bits are inconsistent.
    pub(super) fn ip_frag_reasm(self, cx: &mut Context) -> Option<Packet> {
        let first = self.parts.first()?.packet.0.ipv4();
        let header_len = header_len(&first);
        let total_len = u16::try_from(u32::from(header_len) + self.len).ok();
        let (Some(total_len), Some(ecn)) = (total_len, self.ecn.mark()) else {
            end_all(cx, self.into_parts(), DropReason::FragmentWrong);
            return None;
        };
        // The largest fragment had DF: refragmentation must not go below its size (IPSKB_FRAG_PMTU).
        let dont_fragment = self.max_df_size == self.max_size;
        let sizes = self.parts.iter().map(|part| u16::try_from(part.end - part.offset).unwrap_or(u16::MAX));
        let defragmented = Defragmented { max_size: self.max_size, sizes: sizes.collect() };
        let head = &self.parts.first()?.packet.0;
        let mut bytes = head.bytes[..ETHERNET_HEADER_LEN + usize::from(header_len)].to_vec();
        let mut meta = head.meta.clone();
        for part in &self.parts {
            let len = usize::try_from(part.end - part.offset).expect("a packet is under 64 KiB");
            bytes.extend_from_slice(&part.packet.0.ipv4().payload()[..len]);
        }
        let mut ip = Ipv4::new_unchecked(&mut bytes[ETHERNET_HEADER_LEN..]);
        let tos = ip.tos() | ecn;
        ip.set_part(total_len, 0, false, dont_fragment);
        ip.set_tos(tos);
        let newest = self.newest;
        let (mut rest, mut whole) = (Vec::new(), None);
        for part in self.parts {
            let is_newest = part.offset == newest;
            if is_newest { whole = Some(part.packet.0) } else { rest.push(part.packet.0) }
        }
        let mut whole = whole?;
        // The complete packet takes the conntrack entry of the first fragment; the entry of the newest one is released
        // with the first.
        if let Some(first) = rest.first_mut().filter(|_| newest > 0) {
            first.meta.ct = whole.meta.ct;
        }
        for part in rest {
            end(cx, part, Terminal::Reassembled { into: whole.id });
        }
        // The ingress device and route of the last fragment.
        (meta.in_dev, meta.route) = (whole.meta.in_dev, whole.meta.route);
        meta.defragmented = Some(Box::new(defragmented));
        (whole.bytes, whole.meta) = (bytes, meta);
        Some(whole)
    }
}

fn header_len<T: AsRef<[u8]>>(ip: &Ipv4<T>) -> u16 {
    u16::try_from(ip.header_len()).expect("an IPv4 header has 60 bytes at most")
}

fn payload_len<T: AsRef<[u8]>>(ip: &Ipv4<T>) -> u32 {
    u32::from(ip.total_len().saturating_sub(header_len(ip)))
}
