//! The receive direction of a connection: sequence space, window, reordering, SACK.

use super::segment::{SackBlocks, Segment};
use super::seq::Seq;
use crate::time::Instant;
use crate::wire::TcpFlags;

/// The most that an application reads at once, in bytes; clients and servers in a lab have buffers of this size.
const READ_MAX: usize = 4_096;

/// State of the receive direction (`struct tcp_sock`; same names).
#[derive(Clone, Debug, Default)]
pub(super) struct Receive {
    /// The receive buffer in bytes (`sk_rcvbuf`). It is chosen when the socket is created.
    pub(super) rcvbuf: u32,
    /// Next sequence number expected.
    pub(super) rcv_nxt: Seq,
    /// `rcv_nxt` at the last window announcement.
    pub(super) rcv_wup: Seq,
    /// The last announced window, relative to `rcv_wup`.
    pub(super) rcv_wnd: u32,
    /// The maximum window to announce.
    pub(super) rcv_ssthresh: u32,
    /// Window scale of outgoing segments.
    pub(super) rcv_wscale: u8,
    /// The timestamp to echo, and when it was received; `None` before the first one.
    pub(super) ts_recent: Option<(u32, Instant)>,
    /// In-order data that the application has not read.
    unread: Vec<u8>,
    /// The urgent byte, which read(2) stops at and then skips (`urg_seq`, while `urg_data` is set).
    urgent: Option<Seq>,
    /// The peer's FIN has been processed.
    pub(super) is_finished: bool,
    /// Segments beyond a gap, by sequence number, without overlaps.
    reorder: Vec<OutOfOrder>,
    /// SACK blocks to report, most recent first.
    sack: SackBlocks,
    /// A duplicate to report once (RFC 2883).
    duplicate: Option<(Seq, Seq)>,
}

#[derive(Clone, Debug)]
struct OutOfOrder {
    seq: Seq,
    bytes: Vec<u8>,
    has_fin: bool,
}

impl OutOfOrder {
    fn end(&self) -> Seq {
        self.seq + length(&self.bytes) + u32::from(self.has_fin)
    }
}

/// The result of a segment's payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Text {
    /// There is none.
    Nothing,
    /// In order; this many bytes became readable.
    InOrder(u32),
    /// Beyond a gap.
    BeyondGap,
    /// Received before, or outside the window.
    Unwanted,
}

impl Receive {
    /// Before the peer's SYN is known, with the initial window.
    pub(super) fn new(rcvbuf: u32, rcv_wnd: u32, rcv_wscale: u8) -> Self {
        Self { rcvbuf, rcv_wnd, rcv_wscale, rcv_ssthresh: rcv_wnd, ..Self::default() }
    }

    /// The peer's SYN was received; the number after it is expected next.
    pub(super) fn start_after(&mut self, peer_isn: Seq) {
        self.rcv_nxt = peer_isn + 1;
        self.rcv_wup = self.rcv_nxt;
    }

    /// The rest of the announced window (`tcp_receive_window`, include/net/tcp.h).
    pub(super) fn window_left(&self) -> u32 {
        (self.rcv_wup + self.rcv_wnd - self.rcv_nxt).min(self.rcv_wnd)
    }

    /// Selects the window to announce. It never shrinks.
    ///
    /// Linux: `tcp_select_window`, net/ipv4/tcp_output.c. Deviation: unread data does not reduce the window, because
    /// the applications here read immediately, and segments of 536 bytes and more do not increase it.
    pub(super) fn select_window(&mut self, rcv_mss: u32) -> u16 {
        let unit = 1 << self.rcv_wscale;
        let wanted = self.wanted_window(rcv_mss);
        let window = wanted.max(self.window_left().next_multiple_of(unit));
        let window = window.min(u32::from(u16::MAX) << self.rcv_wscale);
        self.rcv_wnd = window;
        self.rcv_wup = self.rcv_nxt;
        u16::try_from(window >> self.rcv_wscale).unwrap_or(u16::MAX)
    }

    /// Linux: `__tcp_select_window`. An unscaled window is kept while it is close to the free space.
    fn wanted_window(&self, rcv_mss: u32) -> u32 {
        let free = self.rcv_ssthresh;
        if self.rcv_wscale > 0 {
            free.next_multiple_of(1 << self.rcv_wscale)
        } else if self.rcv_wnd + rcv_mss <= free || self.rcv_wnd > free {
            free / rcv_mss * rcv_mss
        } else {
            self.rcv_wnd
        }
    }

    /// True if a segment overlaps the window (`tcp_sequence`, net/ipv4/tcp_input.c).
    pub(super) fn is_acceptable(&self, seq: Seq, end_seq: Seq) -> bool {
        !end_seq.is_before(self.rcv_wup) && !seq.is_after(self.rcv_nxt + self.window_left())
    }

    /// Records the timestamp to echo (`tcp_replace_ts_recent`).
    pub(super) fn note_timestamp(&mut self, seq: Seq, value: u32, now: Instant) {
        let is_newer = self.ts_recent.is_none_or(|(recent, _)| recent.wrapping_sub(value).cast_signed() <= 0);
        if !seq.is_after(self.rcv_wup) && is_newer {
            self.ts_recent = Some((value, now));
        }
    }

    /// Adds the payload of a segment to the sequence space (`tcp_data_queue`).
    pub(super) fn take_text(&mut self, segment: &Segment<'_>) -> Text {
        let (seq, end) = (segment.seq, segment.end_seq());
        if seq == end {
            return Text::Nothing;
        }
        if !end.is_after(self.rcv_nxt) {
            self.report_duplicate(seq, end);
            return Text::Unwanted;
        }
        if !seq.is_before(self.rcv_nxt + self.window_left()) {
            return Text::Unwanted;
        }
        if seq.is_after(self.rcv_nxt) {
            self.keep_out_of_order(segment);
            return Text::BeyondGap;
        }
        if seq.is_before(self.rcv_nxt) {
            self.report_duplicate(seq, self.rcv_nxt);
        }
        let before = self.unread.len();
        self.append(seq, segment.payload, segment.has(TcpFlags::FIN));
        self.fill_gap();
        Text::InOrder(u32::try_from(self.unread.len() - before).expect("at most a window"))
    }

    /// Notes the urgent pointer, which addresses the last urgent byte plus one (RFC 793), or that byte itself if it is zero.
    ///
    /// Linux: `tcp_check_urg`, with `tcp_stdurg` 0.
    pub(super) fn note_urgent(&mut self, segment: &Segment<'_>) {
        let at = segment.seq + u32::from(segment.urgent.saturating_sub(1));
        let is_known = self.urgent.is_some_and(|known| !at.is_after(known));
        if !at.is_before(self.rcv_nxt) && !is_known {
            self.urgent = Some(at);
        }
    }

    /// Moves what one read(2) of [`READ_MAX`] bytes returns to `buffer`. False if it would wait, or is at the end.
    ///
    /// Linux: `tcp_recvmsg_locked`, net/ipv4/tcp.c. A single urgent byte does not wake the application
    /// (`tcp_stream_is_readable`); read(2) returns what is before it, and then what follows.
    pub(super) fn read(&mut self, buffer: &mut Vec<u8>) -> bool {
        buffer.clear();
        let start = self.first_unread();
        match self.urgent {
            Some(urgent) if urgent.is_after(start) && self.end_of_unread().is_after(urgent) => {
                let ahead = usize::try_from(urgent - start).expect("within a window");
                buffer.extend(self.unread.drain(..ahead.min(READ_MAX)));
            }
            Some(urgent) if urgent == start && !self.unread.is_empty() => {
                if self.unread.len() == 1 && !self.is_finished {
                    return false;
                }
                self.urgent = None;
                let end = self.unread.len().min(1 + READ_MAX);
                buffer.extend(self.unread.drain(..end).skip(1));
            }
            Some(_) | None if self.unread.len() > READ_MAX => buffer.extend(self.unread.drain(..READ_MAX)),
            Some(_) | None => std::mem::swap(buffer, &mut self.unread),
        }
        !buffer.is_empty()
    }

    /// Takes back the buffer of the last read, to be used for later data.
    pub(super) fn reuse(&mut self, mut buffer: Vec<u8>) {
        if self.unread.is_empty() {
            buffer.clear();
            self.unread = buffer;
        }
    }

    /// True if the application has not read everything.
    pub(super) const fn has_unread(&self) -> bool {
        !self.unread.is_empty()
    }

    /// The sequence number of the first byte that was not read (`copied_seq`).
    fn first_unread(&self) -> Seq {
        Seq(self.end_of_unread().0.wrapping_sub(length(&self.unread)))
    }

    /// The sequence number after all readable bytes.
    fn end_of_unread(&self) -> Seq {
        Seq(self.rcv_nxt.0.wrapping_sub(u32::from(self.is_finished)))
    }

    /// Records a duplicate, to be reported with the next ACK (`tcp_dsack_set`).
    pub(super) const fn report_duplicate(&mut self, start: Seq, end: Seq) {
        self.duplicate = Some((start, end));
    }

    pub(super) const fn has_gap(&self) -> bool {
        !self.reorder.is_empty()
    }

    /// The end of the last block received beyond a gap.
    pub(super) fn highest_sack(&self) -> Option<Seq> {
        self.sack.iter().map(|(_, end)| *end).reduce(Seq::max)
    }

    /// The SACK blocks of the next ACK, at most `limit`; a duplicate is reported once.
    pub(super) fn sack_blocks(&mut self, limit: usize) -> SackBlocks {
        self.duplicate.take().into_iter().chain(self.sack.iter().copied()).take(limit).collect()
    }

    /// The number of SACK blocks to report.
    pub(super) fn sack_count(&self) -> usize {
        self.sack.len() + usize::from(self.duplicate.is_some())
    }

    fn append(&mut self, seq: Seq, bytes: &[u8], has_fin: bool) {
        let skip = usize::try_from(self.rcv_nxt - seq).expect("within a segment").min(bytes.len());
        self.unread.extend_from_slice(&bytes[skip..]);
        self.rcv_nxt = seq + length(bytes) + u32::from(has_fin);
        self.is_finished |= has_fin;
    }

    /// Linux: `tcp_ofo_queue`, `tcp_sack_remove`.
    fn fill_gap(&mut self) {
        while !self.is_finished && self.reorder.first().is_some_and(|next| !next.seq.is_after(self.rcv_nxt)) {
            let next = self.reorder.remove(0);
            if next.end().is_after(self.rcv_nxt) {
                self.append(next.seq, &next.bytes, next.has_fin);
            }
        }
        if self.is_finished {
            // Data beyond a FIN is discarded (`tcp_fin` purges the queue).
            self.reorder.clear();
        }
        let rcv_nxt = self.rcv_nxt;
        self.sack.retain(|(start, _)| start.is_after(rcv_nxt));
    }

    /// Linux: `tcp_data_queue_ofo`.
    fn keep_out_of_order(&mut self, segment: &Segment<'_>) {
        let (seq, end) = (segment.seq, segment.end_seq());
        let at = self.reorder.iter().position(|kept| kept.seq.is_after(seq)).unwrap_or(self.reorder.len());
        if let Some(before) = at.checked_sub(1).map(|index| &self.reorder[index])
            && seq.is_before(before.end())
        {
            let is_all_present = !end.is_after(before.end());
            self.duplicate = Some((seq, if is_all_present { end } else { before.end() }));
            if is_all_present {
                self.add_sack(seq, end);
                return;
            }
        }
        let bytes = segment.payload.to_vec();
        self.reorder.insert(at, OutOfOrder { seq, bytes, has_fin: segment.has(TcpFlags::FIN) });
        self.drop_covered(at + 1, end);
        self.add_sack(seq, end);
    }

    /// Drops segments from `index` on that end before `end`; overlaps are reported as duplicates.
    fn drop_covered(&mut self, index: usize, end: Seq) {
        while let Some(next) = self.reorder.get(index) {
            let (start, next_end) = (next.seq, next.end());
            if !end.is_after(start) {
                break;
            }
            let is_covered = !end.is_before(next_end);
            let overlap_end = if is_covered { next_end } else { end };
            self.extend_duplicate(start, overlap_end);
            if !is_covered {
                break;
            }
            self.reorder.remove(index);
        }
    }

    /// Extends the duplicate to be reported, unless there is a gap between the two (`tcp_dsack_extend`).
    fn extend_duplicate(&mut self, start: Seq, end: Seq) {
        match &mut self.duplicate {
            None => self.duplicate = Some((start, end)),
            Some((first, last)) if !start.is_after(*last) && !first.is_after(end) => {
                *first = if start.is_before(*first) { start } else { *first };
                *last = end.max(*last);
            }
            Some(_) => {}
        }
    }

    /// Prepends a SACK block, merged with adjacent ones (`tcp_sack_new_ofo_skb`).
    fn add_sack(&mut self, mut start: Seq, mut end: Seq) {
        self.sack.retain(|(other_start, other_end)| {
            let is_apart = other_end.is_before(start) || other_start.is_after(end);
            if !is_apart {
                start = if other_start.is_before(start) { *other_start } else { start };
                end = end.max(*other_end);
            }
            is_apart
        });
        self.sack.insert(0, (start, end));
        self.sack.truncate(4);
    }
}

fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).expect("a segment is under 64 KiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lengths of all reads of 10,000 bytes with an urgent one at that sequence number.
    fn reads(urgent: Option<Seq>) -> Vec<usize> {
        let (unread, rcv_nxt) = (vec![b'x'; 10_000], Seq(10_000));
        let mut receive = Receive { unread, rcv_nxt, urgent, ..Receive::default() };
        let mut buffer = Vec::new();
        std::iter::from_fn(|| receive.read(&mut buffer).then_some(buffer.len())).collect()
    }

    #[test]
    fn a_read_returns_at_most_what_its_buffer_holds() {
        assert_eq!(reads(None), [4096, 4096, 1808]);
        // The urgent byte is skipped, and ends the read before it.
        assert_eq!(reads(Some(Seq(0))), [4096, 4096, 1807]);
        assert_eq!(reads(Some(Seq(5000))), [4096, 904, 4096, 903]);
    }
}
