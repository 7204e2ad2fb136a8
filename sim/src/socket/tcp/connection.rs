//! A connection: its state, its two directions, and its application.

use super::congestion::Congestion;
use super::delack::AckPolicy;
use super::ecn::EcnState;
use super::listen::Request as Handshake;
use super::receive::Receive;
use super::rtt::Rtt;
use super::segment::{FourTuple, Segment};
use super::send::Send;
use super::seq::Seq;
use super::{TIMESTAMPS_LEN, initial_window};
use crate::ids::{FlowId, PacketId, SocketId, TimerKind};
use crate::release::Change;
use crate::socket::dst_cache::DstCache;
use crate::socket::flow::{Client, Flows, Pending};
use crate::socket::icmp::Message;
use crate::socket::timer::Timers;
use crate::socket::{ClientProtocol, ClientSpec, Request, SendAgainError, Server, SocketIo};
use crate::time::{Duration, Instant};
use crate::trace::{Event, Outcome, SocketEvent};

/// State of a connection (RFC 9293 §3.3.2). LISTEN, the handshake of a listener, and TIME_WAIT are separate sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::socket) enum State {
    SynSent,
    /// Only in a simultaneous open.
    SynReceived,
    Established,
    FinWait1,
    FinWait2,
    CloseWait,
    Closing,
    LastAck,
    /// Continues as a [`super::TimeWait`]; the table converts it at the end of the call.
    TimeWait(WaitFor),
    /// Removed at the end of the call.
    Closed,
}

/// What a socket without an owner waits for (`tw_substate`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::socket) enum WaitFor {
    /// FIN_WAIT2: the peer's FIN.
    Fin,
    /// TIME_WAIT: expiry of old segments.
    Silence,
}

/// Purpose of the retransmission timer (`icsk_pending`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WriteTimer {
    /// `ICSK_TIME_RETRANS`.
    Retransmit,
    /// `ICSK_TIME_LOSS_PROBE`.
    LossProbe,
    /// `ICSK_TIME_PROBE0`.
    WindowProbe,
}

/// State that a new connection inherits from one with the same tuple in TIME_WAIT (`tcp_twsk_unique`,
/// net/ipv4/tcp_ipv4.c).
#[derive(Clone, Copy, Debug)]
pub(super) struct Inherited {
    /// Initial sequence number.
    pub(super) isn: Seq,
    /// The peer's last timestamp, and its arrival time.
    pub(super) ts_recent: Option<(u32, Instant)>,
}

/// How long a server takes from its answer to the next read, in which it sees that the client has closed. A client that has
/// closed resets the connection when the answer arrives; without latency on the links, that comes first.
const READ_AGAIN: Duration = Duration::from_millis(1);

/// The application of a connection.
#[derive(Clone, Debug)]
pub(super) enum App {
    Client(Client),
    /// The server, and what it has read of a request that is not complete.
    Server(Server, Vec<u8>),
    /// The application closed the socket (`SOCK_DEAD`).
    Gone,
}

/// A connection (`struct tcp_sock`).
#[derive(Clone, Debug)]
pub(in crate::socket) struct Connection {
    pub(in crate::socket) id: SocketId,
    pub(in crate::socket) tuple: FourTuple,
    pub(in crate::socket) state: State,
    /// The listener that accepted it.
    pub(in crate::socket) listener: Option<SocketId>,
    /// The source port was chosen by the user, so ephemeral ports must not share it.
    pub(in crate::socket) is_port_bound: bool,
    pub(in crate::socket) timers: Timers,
    /// The flow of its segments.
    pub(super) flow: Option<FlowId>,
    /// The packet being processed.
    pub(super) cause: Option<PacketId>,
    /// The packet that ended the stream which a server is about to close.
    eof_cause: Option<PacketId>,
    /// The next IP ID.
    pub(super) ident: u16,
    /// Its route (`sk_dst_cache`).
    pub(super) dst: DstCache,
    /// The next segment confirms its next hop (`sk_dst_pending_confirm`).
    pub(super) confirms_neighbour: bool,
    pub(super) app: App,
    pub(super) snd: Send,
    pub(super) rcv: Receive,
    pub(super) ack: AckPolicy,
    pub(super) rtt: Rtt,
    /// The announced MSS, minus the options of every segment (`advmss`).
    pub(super) advmss: u16,
    /// MTU of the path for which segments are made, in bytes (`icsk_pmtu_cookie`).
    pub(super) pmtu: u16,
    pub(super) has_timestamps: bool,
    pub(super) has_sack: bool,
    pub(super) ecn: EcnState,
    pub(super) write_timer: WriteTimer,
    /// Consecutive timeouts without progress (`icsk_retransmits`, or `icsk_probes_out`).
    pub(super) retransmits: u32,
    /// Time of the first of these retransmissions, or of the first SYN (`retrans_stamp`).
    pub(super) retrans_stamp: Option<Instant>,
    /// How much may be in flight.
    pub(super) congestion: Congestion,
    /// Number of SYN retransmissions (`total_retrans` during the handshake).
    pub(super) syn_retransmits: u32,
    /// End of the flight for which a loss probe was sent (`tlp_high_seq`).
    pub(super) tlp_high_seq: Option<Seq>,
    /// The loss probe was a retransmission (`tlp_retrans`).
    pub(super) is_tlp_retransmission: bool,
    /// Time of the last ACK in reply to an unacceptable segment (`last_oow_ack_time`).
    pub(super) last_oow_ack: Option<Instant>,
    /// The outcome of a non-fatal ICMP error (`sk_err_soft`).
    pub(super) soft_error: Option<Outcome>,
    /// Time of the peer's last acceptable ACK (`rcv_tstamp`).
    pub(super) acked_at: Instant,
    /// Start of the application's last system call that may have sent something.
    pub(super) called_at: Instant,
}

impl Connection {
    fn new(
        io: &mut SocketIo<'_, '_>,
        id: SocketId,
        tuple: FourTuple,
        mut dst: DstCache,
        app: App,
        snd: Send,
        rcv: Receive,
    ) -> Self {
        let advmss = io.advertised_mss(&mut dst, tuple);
        let pmtu = io.path_mtu(&mut dst, tuple);
        Self {
            id,
            tuple,
            state: State::SynSent,
            listener: None,
            is_port_bound: false,
            timers: Timers::default(),
            flow: None,
            cause: None,
            eof_cause: None,
            ident: io.ident(),
            dst,
            confirms_neighbour: false,
            app,
            snd,
            rcv,
            ack: AckPolicy::default(),
            rtt: Rtt::default(),
            advmss,
            pmtu,
            has_timestamps: true,
            has_sack: true,
            ecn: EcnState::default(),
            write_timer: WriteTimer::Retransmit,
            retransmits: 0,
            retrans_stamp: None,
            congestion: Congestion::new(io.settings.congestion_control),
            syn_retransmits: 0,
            tlp_high_seq: None,
            is_tlp_retransmission: false,
            last_oow_ack: None,
            soft_error: None,
            acked_at: io.cx.now,
            called_at: io.cx.now,
        }
    }

    /// A client's connection, before its SYN. It inherits sequence numbers and the peer's timestamp from a connection
    /// in TIME_WAIT that it replaces.
    pub(super) fn connect(
        io: &mut SocketIo<'_, '_>,
        id: SocketId,
        tuple: FourTuple,
        spec: ClientSpec,
        inherited: Option<Inherited>,
    ) -> Self {
        let rcvbuf = io.settings.tcp_rmem.default;
        let ts_recent = inherited.and_then(|inherited| inherited.ts_recent);
        let option_len = if ts_recent.is_some() { TIMESTAMPS_LEN } else { 0 };
        let mut dst = DstCache::default();
        let mss = io.advertised_mss(&mut dst, tuple) - option_len;
        let (rcv_wnd, rcv_wscale) = initial_window(io, rcvbuf, mss, true);
        let mut rcv = Receive::new(rcvbuf, rcv_wnd, rcv_wscale);
        rcv.ts_recent = ts_recent;
        let snd = Send::new(inherited.map_or_else(|| io.isn(), |inherited| inherited.isn));
        let (flow, deadline) = (spec.request.flow, spec.request.deadline);
        let pending = Pending::open(io, id, ClientProtocol::Tcp, tuple.local, tuple.remote, spec.request);
        let app = App::Client(Client { is_kept_open: spec.is_kept_open, pending: Some(pending) });
        let mut connection = Self::new(io, id, tuple, dst, app, snd, rcv);
        connection.is_port_bound = spec.src_port.is_some();
        connection.flow = Some(flow);
        connection.timers.arm(io, id, TimerKind::Deadline, deadline);
        connection
    }

    /// The connection of a listener's handshake, completed by `segment`.
    ///
    /// Linux: `tcp_v4_syn_recv_sock`, net/ipv4/tcp_ipv4.c; `tcp_create_openreq_child`, net/ipv4/tcp_minisocks.c.
    pub(super) fn accept(io: &mut SocketIo<'_, '_>, handshake: &Handshake, segment: &Segment<'_>) -> Self {
        let mut snd = Send::new(handshake.isn);
        snd.finish_handshake(segment, handshake.snd_wscale, handshake.mss);
        let mut rcv = Receive::new(handshake.rcvbuf, handshake.rcv_wnd, handshake.rcv_wscale);
        rcv.start_after(handshake.peer_isn);
        rcv.ts_recent = handshake.ts_recent;
        let app = App::Server(handshake.server.clone(), Vec::new());
        let mut connection = Self::new(io, handshake.id, handshake.tuple, handshake.dst, app, snd, rcv);
        connection.flow = segment.flow.or(handshake.flow);
        // With the same id, timers must continue counting, so that a timer of the handshake is not taken for one of the
        // connection.
        connection.timers = handshake.timers.clone();
        connection.timers.cancel(TimerKind::Retransmit);
        connection.has_timestamps = handshake.ts_recent.is_some();
        connection.has_sack = handshake.has_sack;
        connection.ecn.is_ok = handshake.has_ecn;
        connection.listener = Some(handshake.listener);
        if handshake.retransmits == 0 {
            connection.rtt.measure(io.cx.now - handshake.started);
        }
        connection.ack.connected(io.cx.now);
        connection.establish();
        let (flow, socket, FourTuple { local, remote }) = (connection.flow, connection.id, connection.tuple);
        io.cx.record_flow(Some(segment.packet), || {
            Event::Socket(SocketEvent::Accepted { flow, socket, local, remote })
        });
        connection
    }

    /// The handshake is complete (`tcp_init_transfer`, net/ipv4/tcp_input.c).
    pub(super) fn establish(&mut self) {
        self.state = State::Established;
        self.rtt.finish_handshake();
        self.congestion.established(self.syn_retransmits);
        self.retransmits = 0;
        self.retrans_stamp = None;
        // A client has already subtracted the timestamps from its MSS, a server has not: `tcp_init_buffer_space` keeps
        // one segment in reserve if there is room for two, so the announced windows of the two sides differ slightly.
        let is_client = matches!(self.app, App::Client(_) | App::Gone);
        let option_len = if self.has_timestamps { TIMESTAMPS_LEN } else { 0 };
        let segment = u32::from(if is_client { self.advmss - option_len } else { self.advmss });
        let space = self.rcv.rcvbuf / 2;
        let clamp = if space > 2 * segment { (2 * segment).max(space - segment) } else { space };
        self.rcv.rcv_ssthresh = self.rcv.rcv_ssthresh.min(clamp);
        self.advmss -= option_len;
    }

    /// Lets the application process received data. It runs after the segment that woke it has been processed and
    /// acknowledged, as a process runs after the softirq.
    pub(super) fn wake_app(&mut self, io: &mut SocketIo<'_, '_>, flows: &mut Flows) {
        let mut buffer = Vec::new();
        let mut has_answered = false;
        // Usually one read returns everything; urgent data divides it.
        while self.rcv.read(&mut buffer) {
            has_answered |= self.app_has_read(io, flows, &buffer);
            if self.is_orphan() {
                break;
            }
        }
        self.rcv.reuse(buffer);
        if self.rcv.is_finished {
            match &self.app {
                App::Client(_) => self.finish_at_eof(io, flows),
                // A process runs after the softirq: what arrives together with the FIN, such as an RST, comes first.
                App::Server(..) => {
                    let after = if has_answered { READ_AGAIN } else { Duration::ZERO };
                    self.timers.arm(io, self.id, TimerKind::Deadline, after);
                    self.eof_cause = self.cause;
                }
                App::Gone => {}
            }
        }
    }

    /// One read(2) of the application has returned this. True if it has answered.
    fn app_has_read(&mut self, io: &mut SocketIo<'_, '_>, flows: &mut Flows, bytes: &[u8]) -> bool {
        let FourTuple { local, remote } = self.tuple;
        match &mut self.app {
            App::Client(client) => {
                let is_complete =
                    client.pending.as_mut().is_some_and(|pending| pending.add_reply(remote, bytes));
                self.after_read(io);
                if is_complete {
                    self.finish(io, flows, Outcome::Connected);
                }
                false
            }
            App::Server(server, request) => {
                let answer = if request.is_empty() && server.is_complete(bytes) {
                    server.answer(bytes, local, remote)
                } else {
                    request.extend_from_slice(bytes);
                    let answer = server.is_complete(request).then(|| std::mem::take(request));
                    answer.and_then(|request| server.answer(&request, local, remote))
                };
                self.after_read(io);
                if let Some(answer) = &answer {
                    self.write(io, answer);
                }
                answer.is_some()
            }
            App::Gone => false,
        }
    }

    /// The connection is established: a client sends its request.
    pub(super) fn wake_connected(&mut self, io: &mut SocketIo<'_, '_>, flows: &mut Flows) {
        let App::Client(client) = &mut self.app else { return };
        let Some(pending) = &mut client.pending else { return };
        pending.set_established(io.cx.now);
        if pending.request.is_empty() {
            self.finish(io, flows, Outcome::Connected);
        } else {
            let request = pending.request.clone();
            self.write(io, &request);
        }
    }

    /// Sends another request on a connection that was kept open.
    pub(in crate::socket) fn send_again(
        &mut self,
        io: &mut SocketIo<'_, '_>,
        flows: &mut Flows,
        request: Request,
    ) -> Result<(), SendAgainError> {
        let App::Client(client) = &mut self.app else { return Err(SendAgainError::Closed) };
        if client.pending.is_some() {
            return Err(SendAgainError::Pending);
        }
        if self.state != State::Established {
            return Err(SendAgainError::Closed);
        }
        let FourTuple { local, remote } = self.tuple;
        self.flow = Some(request.flow);
        self.timers.arm(io, self.id, TimerKind::Deadline, request.deadline);
        client.pending = Some(Pending::open(io, self.id, ClientProtocol::Tcp, local, remote, request));
        self.wake_connected(io, flows);
        Ok(())
    }

    /// The flow of the segments that close a connection which was kept open.
    pub(in crate::socket) fn begin_close(
        &mut self,
        io: &mut SocketIo<'_, '_>,
        flows: &mut Flows,
        flow: FlowId,
    ) -> Result<(), SendAgainError> {
        let App::Client(client) = &self.app else { return Err(SendAgainError::Closed) };
        if client.pending.is_some() {
            return Err(SendAgainError::Pending);
        }
        self.flow = Some(flow);
        let FourTuple { local, remote } = self.tuple;
        Pending::close(io, flows, flow, (self.id, ClientProtocol::Tcp), (local, remote));
        Ok(())
    }

    /// The client's timeout has expired, or a server reads the end of the stream.
    pub(super) fn deadline_passed(&mut self, io: &mut SocketIo<'_, '_>, flows: &mut Flows) {
        match self.app {
            App::Client(_) => self.finish(io, flows, Outcome::Timeout),
            App::Server(..) => {
                self.cause = self.eof_cause.take();
                self.close(io);
                self.cause = None;
            }
            App::Gone => {}
        }
    }

    /// Ends the client's exchange. Closes the socket like close(2), unless it is kept open and still usable.
    pub(in crate::socket) fn finish(
        &mut self,
        io: &mut SocketIo<'_, '_>,
        flows: &mut Flows,
        outcome: Outcome,
    ) {
        self.timers.cancel(TimerKind::Deadline);
        let App::Client(client) = &mut self.app else { return };
        let is_kept_open = client.is_kept_open;
        let mut is_usable = self.state == State::Established;
        if let Some(pending) = client.pending.take() {
            // A late response could be taken for that of the next request.
            is_usable &= outcome == Outcome::Connected;
            pending.finish(io, flows, outcome);
        }
        if !is_kept_open || !is_usable {
            if is_kept_open {
                flows.set_ended(self.id, outcome);
            }
            self.close(io);
        }
    }

    fn finish_at_eof(&mut self, io: &mut SocketIo<'_, '_>, flows: &mut Flows) {
        let App::Client(client) = &self.app else { return };
        let has_reply = client.pending.as_ref().is_some_and(Pending::has_reply);
        self.finish(io, flows, if has_reply { Outcome::Connected } else { Outcome::Reset });
    }

    /// Records an ICMP error for the result of the exchange.
    pub(super) fn note_icmp_error(&mut self, message: &Message) {
        if let App::Client(Client { pending: Some(pending), .. }) = &mut self.app {
            pending.add_icmp_error(message.icmp_type, message.code);
        }
    }

    /// Aborts the connection because of an error: the application is informed, and nothing more is sent (`tcp_done`,
    /// `sk_err`).
    pub(super) fn abort(&mut self, io: &mut SocketIo<'_, '_>, flows: &mut Flows, outcome: Outcome) {
        self.state = State::Closed;
        self.finish(io, flows, outcome);
    }

    /// The application closes the socket (`__tcp_close`, net/ipv4/tcp.c): the peer gets a FIN, or a RST if the application has
    /// not read everything (RFC 2525 §2.17).
    pub(in crate::socket) fn close(&mut self, io: &mut SocketIo<'_, '_>) {
        self.timers.cancel(TimerKind::Deadline);
        self.end(io);
        self.app = App::Gone;
    }

    fn end(&mut self, io: &mut SocketIo<'_, '_>) {
        if self.rcv.has_unread() && !matches!(self.state, State::Closed | State::TimeWait(_)) {
            self.send_active_reset(io);
            self.state = State::Closed;
            return;
        }
        self.state = match self.state {
            State::SynSent | State::Closed => State::Closed,
            State::SynReceived | State::Established => State::FinWait1,
            State::CloseWait => State::LastAck,
            // Already closed.
            State::FinWait1 | State::FinWait2 | State::Closing | State::LastAck | State::TimeWait(_) => {
                return;
            }
        };
        if self.state != State::Closed {
            self.snd.write_fin();
            self.called_at = io.cx.now;
            self.push(io);
        }
    }

    fn write(&mut self, io: &mut SocketIo<'_, '_>, bytes: &[u8]) {
        let is_filled = io.settings.release.has(Change::SegmentsAreFilled);
        let buffer_size = (!is_filled).then(|| self.mss());
        self.snd.write(bytes, buffer_size);
        self.called_at = io.cx.now;
        self.push(io);
    }

    /// True after close(2): received data has no reader (`SOCK_DEAD`, `RCV_SHUTDOWN`).
    pub(in crate::socket) const fn is_orphan(&self) -> bool {
        matches!(self.app, App::Gone)
    }

    /// Duration of TIME_WAIT, or of FIN_WAIT2 without an owner (`TCP_TIMEWAIT_LEN`, `tcp_fin_timeout`).
    pub(super) const fn time_wait() -> Duration {
        Duration::from_secs(60)
    }
}
