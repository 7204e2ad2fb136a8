//! Received segments in state SYN_SENT.
//!
//! Linux: `tcp_rcv_synsent_state_process`, net/ipv4/tcp_input.c.

use super::connection::{Connection, State, WriteTimer};
use super::segment::Segment;
use super::{Disposition, timestamp};
use crate::drop_reason::DropReason;
use crate::ids::TimerKind;
use crate::socket::SocketIo;
use crate::socket::flow::Flows;
use crate::time::Duration;
use crate::trace::{Outcome, Refusal};
use crate::wire::TcpFlags;

/// `TCP_TIMEOUT_MIN`: two ticks, here of a millisecond.
const TIMEOUT_MIN: Duration = Duration::from_millis(2);

impl Connection {
    pub(super) fn rcv_synsent_state_process(
        &mut self,
        io: &mut SocketIo<'_, '_>,
        flows: &mut Flows,
        segment: &Segment<'_>,
    ) -> Disposition {
        let (is_syn, is_rst) = (segment.has(TcpFlags::SYN), segment.has(TcpFlags::RST));
        let dropped = Disposition::Drop(DropReason::TcpInvalid);
        if segment.has(TcpFlags::ACK) {
            let is_acceptable =
                segment.ack.is_after(self.snd.snd_una) && !segment.ack.is_after(self.snd.snd_nxt);
            if !is_acceptable && self.retransmits == 0 {
                // The peer may still have an earlier connection; once that is reset, our SYN is accepted.
                self.arm_write_timer(io, WriteTimer::Retransmit, TIMEOUT_MIN);
            }
            if !is_acceptable || self.is_echo_impossible(io, segment) {
                return Disposition::Reset(DropReason::TcpInvalid);
            }
            if is_rst {
                self.abort(io, flows, Outcome::Refused(Refusal::TcpReset));
                return Disposition::Taken;
            }
            if !is_syn {
                return dropped;
            }
            self.finish_connect(io, flows, segment);
            return Disposition::Taken;
        }
        if is_rst || !is_syn || self.is_paws_rejected(segment) {
            return dropped;
        }
        self.simultaneous_open(io, segment);
        Disposition::Taken
    }

    /// True if the peer echoes a timestamp that none of our SYNs carried.
    fn is_echo_impossible(&self, io: &SocketIo<'_, '_>, segment: &Segment<'_>) -> bool {
        let Some((_, echo)) = segment.options.timestamps.filter(|(_, echo)| *echo != 0) else { return false };
        let Some(first) = self.retrans_stamp else { return false };
        let (first, last) = (timestamp(first), timestamp(io.cx.now));
        last.wrapping_sub(first) < echo.wrapping_sub(first)
    }

    /// Processes the expected SYN|ACK.
    fn finish_connect(&mut self, io: &mut SocketIo<'_, '_>, flows: &mut Flows, segment: &Segment<'_>) {
        self.take_syn(io, segment);
        let acked = self.snd.acknowledge(segment.ack);
        self.confirm_neighbour();
        let echo = segment.options.timestamps.map(|(_, echo)| echo);
        self.measure_rtt(io.cx.now, acked.sent.filter(|_| !acked.is_ambiguous), echo);
        self.timers.cancel(TimerKind::Retransmit);
        self.ack.connected(io.cx.now);
        self.establish();
        self.send_ack(io);
        self.wake_connected(io, flows);
    }

    /// A simultaneous open: our SYN is sent again as a SYN|ACK.
    fn simultaneous_open(&mut self, io: &mut SocketIo<'_, '_>, segment: &Segment<'_>) {
        self.take_syn(io, segment);
        self.state = State::SynReceived;
        self.transmit_syn(io);
    }

    /// Records the peer's sequence number, window and options.
    fn take_syn(&mut self, io: &SocketIo<'_, '_>, segment: &Segment<'_>) {
        let options = segment.options;
        self.rcv.start_after(segment.seq);
        self.has_sack = options.is_sack_permitted;
        self.has_timestamps = options.timestamps.is_some();
        self.rcv.ts_recent = options.timestamps.map(|(value, _)| (value, io.cx.now));
        match options.window_scale {
            Some(shift) => self.snd.snd_wscale = shift,
            None => {
                // Without the peer's consent our windows are not scaled either.
                self.rcv.rcv_wscale = 0;
                self.rcv.rcv_ssthresh = self.rcv.rcv_ssthresh.min(u32::from(u16::MAX));
            }
        }
        self.snd.snd_wnd = u32::from(segment.window);
        self.snd.max_window = self.snd.snd_wnd;
        self.snd.snd_wl1 = segment.seq;
        self.snd.mss = options.mss.unwrap_or(536);
    }
}
