//! The send direction of a connection: written data, the flight, and the peer's window.

use super::segment::Segment;
use super::seq::Seq;
use crate::time::Instant;
use std::collections::VecDeque;

/// State of the send direction (`struct tcp_sock`; same names).
#[derive(Clone, Debug)]
pub(super) struct Send {
    /// Oldest unacknowledged sequence number.
    pub(super) snd_una: Seq,
    /// Next sequence number to be sent.
    pub(super) snd_nxt: Seq,
    /// The peer's window, relative to `snd_una`.
    pub(super) snd_wnd: u32,
    /// Sequence number of the segment that last updated the window.
    pub(super) snd_wl1: Seq,
    /// The largest window that the peer has announced.
    pub(super) max_window: u32,
    /// End of the last segment smaller than the MSS (Minshall's variant of Nagle's algorithm).
    pub(super) snd_sml: Seq,
    /// Number of acknowledged sequence numbers (`bytes_acked`).
    pub(super) bytes_acked: u32,
    /// Window scale of incoming segments.
    pub(super) snd_wscale: u8,
    /// Largest segment that the peer accepts, including options (`mss_clamp`).
    pub(super) mss: u16,
    /// Written and unacknowledged data; the first byte has sequence number `first`.
    bytes: VecDeque<u8>,
    first: Seq,
    /// Where the last write begins, and how many of its bytes each buffer holds, if a segment never has bytes of two buffers
    /// (before [`crate::release::Change::SegmentsAreFilled`]).
    buffers: Option<(Seq, u32)>,
    /// A FIN follows the data.
    has_fin: bool,
    /// Sent and unacknowledged segments, in order (`tcp_rtx_queue`).
    pub(super) in_flight: VecDeque<InFlight>,
}

/// Whether a small segment waits until an earlier one is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Nagle {
    On,
    Off,
}

/// A sent and unacknowledged segment.
#[derive(Clone, Copy, Debug)]
pub(super) struct InFlight {
    pub(super) seq: Seq,
    pub(super) end: Seq,
    /// Time of the last transmission.
    pub(super) sent: Instant,
    /// It was retransmitted at some time (`TCPCB_EVER_RETRANS`).
    pub(super) is_retransmitted: bool,
    /// It is considered lost (`TCPCB_LOST`).
    pub(super) is_lost: bool,
    /// A retransmission is on its way (`TCPCB_SACKED_RETRANS`).
    pub(super) is_resent: bool,
    /// It carries PSH.
    pub(super) is_pushed: bool,
}

impl Send {
    /// Before the SYN is sent.
    pub(super) const fn new(isn: Seq) -> Self {
        Self {
            snd_una: isn,
            snd_nxt: isn,
            snd_wnd: 0,
            snd_wl1: Seq(0),
            max_window: 0,
            snd_sml: isn,
            bytes_acked: 0,
            snd_wscale: 0,
            mss: 536,
            bytes: VecDeque::new(),
            // The SYN occupies the first number; data follows.
            first: Seq(isn.0.wrapping_add(1)),
            buffers: None,
            has_fin: false,
            in_flight: VecDeque::new(),
        }
    }

    /// `segment` acknowledges our SYN|ACK, which completes the handshake.
    pub(super) fn finish_handshake(&mut self, segment: &Segment<'_>, snd_wscale: u8, mss: u16) {
        let window = u32::from(segment.window) << snd_wscale;
        (self.snd_una, self.snd_nxt, self.snd_sml) = (self.first, self.first, self.first);
        (self.snd_wnd, self.max_window, self.snd_wl1) = (window, window, segment.seq);
        (self.snd_wscale, self.mss) = (snd_wscale, mss);
    }

    /// Appends data. `buffer_size` is the size of the buffers that limit segments, if any.
    pub(super) fn write(&mut self, bytes: &[u8], buffer_size: Option<u32>) {
        debug_assert!(!self.has_fin, "nothing is written after close");
        self.buffers = buffer_size.map(|size| (self.end_of_bytes(), size));
        self.bytes.extend(bytes);
    }

    pub(super) const fn write_fin(&mut self) {
        self.has_fin = true;
    }

    /// The sequence number after all written data, including FIN.
    pub(super) fn write_seq(&self) -> Seq {
        self.end_of_bytes() + u32::from(self.has_fin)
    }

    fn end_of_bytes(&self) -> Seq {
        self.first + u32::try_from(self.bytes.len()).expect("far less than 4 GiB is written")
    }

    /// True if all written data is acknowledged.
    pub(super) fn is_all_acked(&self) -> bool {
        self.snd_una == self.write_seq()
    }

    /// True if there is unsent data.
    pub(super) fn has_unsent(&self) -> bool {
        self.snd_nxt.is_before(self.write_seq())
    }

    /// Number of segments that are believed to be in the network (`tcp_packets_in_flight`, include/net/tcp.h). A loss probe
    /// counts beside the segment that it repeats.
    pub(super) fn packets_in_flight(&self) -> u32 {
        self.in_flight.iter().map(|sent| u32::from(!sent.is_lost) + u32::from(sent.is_resent)).sum()
    }

    /// Number of unacknowledged segments (`packets_out`).
    pub(super) fn packets_out(&self) -> u32 {
        u32::try_from(self.in_flight.len()).expect("far fewer segments than 2^32")
    }

    /// The range to send next, with segments of at most `mss` bytes; `None` if there is nothing, or if the peer's
    /// window or Nagle's algorithm forbids it. Segments are not split to fit the window.
    ///
    /// Linux: `tcp_write_xmit`, `tcp_snd_wnd_test`, `tcp_nagle_test`, net/ipv4/tcp_output.c.
    pub(super) fn next_segment(&self, mss: u32, nagle: Nagle) -> Option<(Seq, Seq)> {
        let start = self.snd_nxt;
        if !self.has_unsent() {
            return None;
        }
        let bytes_left = self.end_of_bytes() - start;
        let most = mss.min(self.left_in_buffer());
        let is_last = bytes_left <= most;
        let end = start + bytes_left.min(most) + u32::from(is_last && self.has_fin);
        let fits = end - start <= self.window_left();
        // Minshall: at most one small segment in flight.
        let is_small_in_flight = self.snd_sml.is_after(self.snd_una) && !self.snd_sml.is_after(self.snd_nxt);
        let is_held = bytes_left < mss && !self.has_fin && is_small_in_flight && !self.in_flight.is_empty();
        (fits && (nagle == Nagle::Off || !is_held)).then_some((start, end))
    }

    /// Bytes from the next one to be sent to the end of its buffer.
    fn left_in_buffer(&self) -> u32 {
        match self.buffers {
            Some((begin, size)) if !self.snd_nxt.is_before(begin) => size - (self.snd_nxt - begin) % size,
            Some(_) | None => u32::MAX,
        }
    }

    /// Room in the peer's window beyond the flight.
    pub(super) fn window_left(&self) -> u32 {
        let end = self.snd_una + self.snd_wnd;
        if end.is_before(self.snd_nxt) { 0 } else { end - self.snd_nxt }
    }

    /// True if a range that ends there includes the FIN.
    pub(super) fn covers_fin(&self, end: Seq) -> bool {
        self.has_fin && end == self.write_seq()
    }

    /// True if a range has data and ends a write; it then carries PSH, and keeps it when it is partially acknowledged.
    pub(super) fn is_end_of_write(&self, start: Seq, end: Seq) -> bool {
        let last = self.end_of_bytes();
        start.is_before(last) && !end.is_before(last)
    }

    /// The data from `start` to `end`, without SYN and FIN.
    pub(super) fn payload(&mut self, start: Seq, end: Seq) -> &[u8] {
        let last = self.end_of_bytes();
        let end = if end.is_after(last) { last } else { end };
        let start = start.max(self.first);
        if !end.is_after(start) {
            return &[];
        }
        let from = usize::try_from(start - self.first).expect("fits");
        let to = usize::try_from(end - self.first).expect("fits");
        &self.bytes.make_contiguous()[from..to]
    }

    /// Splits segments of the flight with more than `mss` bytes, and marks them as lost. False if there is none.
    pub(super) fn lose_large(&mut self, mss: u32) -> bool {
        let old = std::mem::take(&mut self.in_flight);
        let mut has_lost = false;
        for mut sent in old {
            // A FIN may be added to a full segment.
            let fin = u32::from(self.covers_fin(sent.end));
            if sent.end - sent.seq > mss + fin {
                (sent.is_lost, sent.is_resent, has_lost) = (true, false, true);
            }
            while sent.end - sent.seq > mss + fin {
                self.in_flight.push_back(InFlight { end: sent.seq + mss, is_pushed: false, ..sent });
                sent.seq = sent.seq + mss;
            }
            self.in_flight.push_back(sent);
        }
        has_lost
    }

    /// Prepares the flight's segment with that index for retransmission: what is acknowledged is cut off, and the rest
    /// split or merged to what `mss` and the peer's window admit. False if the segment is beyond the window, which the peer has
    /// reduced. The oldest one is sent even if the window is closed, as a probe.
    ///
    /// Linux: `__tcp_retransmit_skb`, net/ipv4/tcp_output.c.
    pub(super) fn prepare_retransmission(&mut self, index: usize, mss: u32, may_collapse: bool) -> bool {
        let end_of_window = self.snd_una + self.snd_wnd;
        let sent = &mut self.in_flight[index];
        sent.seq = sent.seq.max(self.snd_una);
        let InFlight { seq, end, .. } = *sent;
        let room = if end_of_window.is_after(seq) {
            mss.min(end_of_window - seq)
        } else if seq == self.snd_una {
            mss
        } else {
            return false;
        };
        let length = end - seq - u32::from(self.covers_fin(end));
        if length > room {
            let sent = &mut self.in_flight[index];
            let rest = InFlight { seq: seq + room, ..*sent };
            (sent.end, sent.is_pushed) = (seq + room, false);
            self.in_flight.insert(index + 1, rest);
        } else if length < room && may_collapse {
            self.collapse(index, room, end_of_window);
        }
        true
    }

    /// Merges the flight's segment with that index with the following ones, as far as they fit into `room` bytes and into the
    /// peer's window (`tcp_retrans_try_collapse`, net/ipv4/tcp_output.c).
    fn collapse(&mut self, index: usize, room: u32, end_of_window: Seq) {
        while let Some(next) = self.in_flight.get(index + 1) {
            let end = next.end;
            let length = end - self.in_flight[index].seq - u32::from(self.covers_fin(end));
            if length > room || end.is_after(end_of_window) {
                break;
            }
            let next = self.in_flight.remove(index + 1);
            self.in_flight[index].is_pushed |= next.is_some_and(|next| next.is_pushed);
            self.in_flight[index].end = end;
        }
    }

    /// Processes an ACK and removes acknowledged segments. Returns their number, and the send time of the first one if
    /// none of them was retransmitted (`tcp_clean_rtx_queue`, net/ipv4/tcp_input.c).
    pub(super) fn acknowledge(&mut self, ack: Seq) -> Acked {
        let mut acked = Acked { segments: 0, sent: None, is_ambiguous: false, has_original: false };
        while let Some(head) = self.in_flight.front() {
            if head.end.is_after(ack) {
                break;
            }
            acked.segments += 1;
            acked.is_ambiguous |= head.is_retransmitted;
            acked.has_original |= !head.is_retransmitted;
            // The first one gives the longest, hence safest, measurement.
            acked.sent = acked.sent.or(Some(head.sent));
            self.in_flight.pop_front();
        }
        if ack.is_after(self.first) {
            let count = usize::try_from(ack - self.first).expect("fits").min(self.bytes.len());
            self.bytes.drain(..count);
            self.first = self.first + u32::try_from(count).expect("fits");
        }
        self.bytes_acked = self.bytes_acked.saturating_add(ack - self.snd_una);
        self.snd_una = ack;
        acked
    }
}

/// The segments covered by an ACK.
#[derive(Clone, Copy, Debug)]
pub(super) struct Acked {
    pub(super) segments: u32,
    /// Send time of the first of them.
    pub(super) sent: Option<Instant>,
    /// One of them was retransmitted, so the measurement is ambiguous (Karn).
    pub(super) is_ambiguous: bool,
    /// One of them was never retransmitted.
    pub(super) has_original: bool,
}
