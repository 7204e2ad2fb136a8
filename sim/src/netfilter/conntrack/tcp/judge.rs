//! Processes segments of tracked connections.

use super::options::SynOptions;
use super::peer::PeerFlags;
use super::table::{SegmentKind, Transition, transition};
use super::window::{InWindow, before, tcp_in_window};
use super::{TcpTrack, TrackedSegment};
use crate::ct::{CtStatus, TcpState};
use crate::mutation::Mutation;
use crate::netfilter::conntrack::ConntrackSettings;
use crate::netfilter::conntrack::settings::seconds;
use crate::netfilter::conntrack::verdict::ProtocolVerdict;
use crate::time::Duration;
use crate::tuple::Direction;
use crate::wire::TcpFlags;

/// The next step after the state table.
enum Step {
    /// Check the window; then set this state.
    CheckWindow(TcpState),
    /// Set this state without checking the window.
    SkipWindow(TcpState),
    /// Done.
    Done(ProtocolVerdict),
}

/// Processes a segment of a tracked connection (`nf_conntrack_tcp_packet`). `remaining` is the remaining time of the
/// entry.
pub(in crate::netfilter::conntrack) fn tcp_packet(
    track: &mut TcpTrack,
    status: &mut CtStatus,
    segment: &TrackedSegment,
    direction: Direction,
    settings: &ConntrackSettings,
    remaining: Duration,
) -> ProtocolVerdict {
    let mut old = track.state;
    let step = match transition(direction, segment.kind, old) {
        Transition::To(TcpState::SynSent) if old >= TcpState::TimeWait && track.may_reopen(direction) => {
            return ProtocolVerdict::Repeat;
        }
        Transition::To(TcpState::SynSent) if old < TcpState::TimeWait => Step::CheckWindow(TcpState::SynSent),
        Transition::Ignore | Transition::To(TcpState::SynSent) => {
            match ignored(track, segment, direction) {
                // The SYN that was passed earlier has been answered: the connection is in the state that its ends have.
                Some(answered) => {
                    old = TcpState::SynSent;
                    Step::CheckWindow(answered)
                }
                None => return PASS,
            }
        }
        Transition::To(state) => step_to(track, *status, segment, direction, settings, state),
        Transition::Invalid => Step::Done(ProtocolVerdict::Invalid(
            "a TCP segment that does not fit the state of its connection",
        )),
    };
    let new = match step {
        Step::Done(outcome) => return outcome,
        Step::SkipWindow(state) => state,
        Step::CheckWindow(state) => match tcp_in_window(track, segment, direction, settings) {
            InWindow::Accept => state,
            InWindow::Ignore => return PASS,
            InWindow::Invalid(why) => {
                let refresh = after_invalid(track, *status, segment, direction, settings, remaining);
                return ProtocolVerdict::InvalidWithTimeout(why, refresh);
            }
        },
    };
    accepted(track, status, segment, direction, settings, (old, new))
}

/// The segment passes without effect.
const PASS: ProtocolVerdict = ProtocolVerdict::Accept { refresh: None };

/// Conditions on a transition to `state` that the state table cannot express.
fn step_to(
    track: &mut TcpTrack,
    status: CtStatus,
    segment: &TrackedSegment,
    direction: Direction,
    settings: &ConntrackSettings,
    state: TcpState,
) -> Step {
    match state {
        TcpState::TimeWait if track.is_challenge_ack(segment, direction) => {
            track.last.flags.remove(PeerFlags::CHALLENGE_ACK_EXPECTED);
            Step::Done(PASS)
        }
        TcpState::SynSent2 => {
            track.last.flags.insert(PeerFlags::SIMULTANEOUS_OPEN);
            Step::CheckWindow(state)
        }
        // The ACK that completes a simultaneous open, not one that answers a retransmitted SYN.
        TcpState::SynRecv
            if direction == Direction::Reply
                && segment.kind == SegmentKind::Ack
                && track.last.flags.contains(PeerFlags::SIMULTANEOUS_OPEN) =>
        {
            Step::CheckWindow(TcpState::Established)
        }
        TcpState::Close if segment.kind == SegmentKind::Rst => {
            reset(track, status, segment, direction, settings)
        }
        TcpState::None
        | TcpState::SynSent
        | TcpState::SynRecv
        | TcpState::Established
        | TcpState::FinWait
        | TcpState::CloseWait
        | TcpState::LastAck
        | TcpState::TimeWait
        | TcpState::Close => Step::CheckWindow(state),
    }
}

/// A segment that may be valid although it does not fit the entry: it passes, and is recorded (`TCP_CONNTRACK_IGNORE`).
/// If it is the SYN/ACK for a SYN passed like that, returns the actual state of the connection.
fn ignored(track: &mut TcpTrack, segment: &TrackedSegment, direction: Direction) -> Option<TcpState> {
    let last = &mut track.last;
    if segment.kind == SegmentKind::SynAck
        && last.kind == SegmentKind::Syn
        && last.direction != direction
        && segment.acknowledgment == last.end
    {
        last.flags.remove(PeerFlags::CHALLENGE_ACK_EXPECTED);
        let opener = &mut track.peers[last.direction as usize];
        opener.end = last.end;
        opener.max_end = last.end;
        opener.max_window = u32::from(last.window).max(1);
        opener.scale = last.scale;
        opener.flags = last.flags;
        track.peers[direction as usize].reset();
        return Some(TcpState::SynRecv);
    }
    last.kind = segment.kind;
    last.direction = direction;
    last.sequence = segment.sequence;
    last.end = segment.end;
    last.window = segment.window;
    if segment.kind == SegmentKind::Syn && direction == Direction::Original {
        let offered = SynOptions::parse(segment.options);
        last.flags = PeerFlags::default();
        last.scale = offered.scale.unwrap_or(0);
        if offered.scale.is_some() {
            last.flags.insert(PeerFlags::WINDOW_SCALE);
        }
        if offered.sack_permitted {
            last.flags.insert(PeerFlags::SACK_PERMITTED);
        }
        // RFC 5961: the server may answer with a challenge ACK, which must not be taken for the last ACK of the old
        // connection.
        if track.state == TcpState::LastAck {
            last.flags.insert(PeerFlags::CHALLENGE_ACK_EXPECTED);
        }
    }
    if track.state == TcpState::SynSent && segment.kind == SegmentKind::Ack && direction == Direction::Reply {
        last.acknowledgment = segment.acknowledgment;
    }
    None
}

impl TcpTrack {
    /// A SYN may start a new connection with this tuple: the old one was closed by a FIN, or reset by the same side.
    fn may_reopen(&self, direction: Direction) -> bool {
        if Mutation::ReopenRefused.is_on() {
            return false;
        }
        self.peers.iter().any(|peer| peer.flags.contains(PeerFlags::CLOSE_INITIATED))
            || (self.last.direction == direction && self.last.kind == SegmentKind::Rst)
    }

    fn is_challenge_ack(&self, segment: &TrackedSegment, direction: Direction) -> bool {
        self.state == TcpState::LastAck
            && segment.kind == SegmentKind::Ack
            && self.last.direction != direction
            && self.last.kind == SegmentKind::Syn
            && self.last.flags.contains(PeerFlags::CHALLENGE_ACK_EXPECTED)
    }
}

/// A RST closes the connection only if its receiver would accept it.
fn reset(
    track: &TcpTrack,
    status: CtStatus,
    segment: &TrackedSegment,
    direction: Direction,
    settings: &ConntrackSettings,
) -> Step {
    if track.is_closing() || Mutation::ResetUnchecked.is_on() {
        return Step::SkipWindow(TcpState::Close);
    }
    let is_established = track.state == TcpState::Established && status.contains(CtStatus::ASSURED);
    let receiver = &track.peers[direction.opposite() as usize];
    let last = &track.last;
    let mut new = TcpState::Close;
    // The highest ACK is outdated once a SYN was passed.
    if receiver.flags.contains(PeerFlags::MAX_ACK_SET) && last.kind != SegmentKind::Syn {
        // A RST in reply to a SYN has sequence number zero.
        if segment.sequence == 0 && !is_established {
            return Step::CheckWindow(new);
        }
        if before(segment.sequence, receiver.max_ack) && !settings.tcp_ignore_invalid_rst {
            return Step::Done(ProtocolVerdict::Invalid(
                "a TCP RST below what its receiver has acknowledged",
            ));
        }
        let ends_train =
            last.kind == SegmentKind::Ack && last.direction == direction && segment.sequence == last.end;
        if !is_established || segment.sequence == receiver.max_ack || ends_train {
            return Step::CheckWindow(new);
        }
        // Not exactly what the receiver expects: it will answer with a challenge ACK (RFC 5961 §3.2).
        new = track.state;
    }
    let answers_ignored_syn =
        status.contains(CtStatus::SEEN_REPLY) && last.kind == SegmentKind::Syn && last.direction != direction;
    let answers_ignored_ack = !status.contains(CtStatus::ASSURED) && last.kind == SegmentKind::Ack;
    if (answers_ignored_syn || answers_ignored_ack) && segment.acknowledgment == last.end {
        return Step::SkipWindow(new);
    }
    let answers_challenge_ack = track.state == TcpState::SynSent
        && last.kind == SegmentKind::Ack
        && last.direction == Direction::Reply
        && segment.sequence == last.acknowledgment;
    if answers_challenge_ack { Step::SkipWindow(new) } else { Step::CheckWindow(new) }
}

/// A FIN or RST outside the window may mean that the connection has ended while the tracker is out of sync: the second
/// of such a pair lowers the timeout (`nf_tcp_handle_invalid`).
fn after_invalid(
    track: &mut TcpTrack,
    status: CtStatus,
    segment: &TrackedSegment,
    direction: Direction,
    settings: &ConntrackSettings,
    remaining: Duration,
) -> Option<Duration> {
    let is_end = |kind| match kind {
        SegmentKind::Fin | SegmentKind::Rst => true,
        SegmentKind::Syn | SegmentKind::SynAck | SegmentKind::Ack | SegmentKind::None => false,
    };
    if !status.contains(CtStatus::ASSURED)
        || status.contains(CtStatus::FIXED_TIMEOUT)
        || !is_end(segment.kind)
    {
        return None;
    }
    if track.last.direction == direction || !is_end(track.last.kind) {
        track.last.kind = segment.kind;
        track.last.direction = direction;
        return None;
    }
    let lower = seconds(settings.timeouts.tcp_unacknowledged);
    (remaining >= Duration::from_secs(120) && remaining > lower).then_some(lower)
}

/// The segment belongs to the connection: updates the state and refreshes the timer.
fn accepted(
    track: &mut TcpTrack,
    status: &mut CtStatus,
    segment: &TrackedSegment,
    direction: Direction,
    settings: &ConntrackSettings,
    (old, new): (TcpState, TcpState),
) -> ProtocolVerdict {
    track.last.kind = segment.kind;
    track.last.direction = direction;
    track.state = new;
    if old != new && new == TcpState::FinWait {
        track.peers[direction as usize].flags.insert(PeerFlags::CLOSE_INITIATED);
    }
    let mut timeout = timeout_of(track, segment, settings);
    if !status.contains(CtStatus::SEEN_REPLY) {
        // If the only reply is a RST, there was no connection.
        if segment.has(TcpFlags::RST) && !Mutation::ResetKeepsEntry.is_on() {
            return ProtocolVerdict::Kill;
        }
        // Otherwise a client that reuses its port could keep the entry, and its NAT binding, forever. Since Linux 5.14.
        if segment.kind == SegmentKind::Syn
            && old == TcpState::SynSent
            && !Mutation::SynRetryRefreshes.is_on()
        {
            return ProtocolVerdict::Accept { refresh: None };
        }
        if new == TcpState::Established {
            timeout = timeout.min(seconds(settings.timeouts.tcp_unacknowledged));
        }
    } else if new == TcpState::Established && (old == TcpState::SynRecv || old == TcpState::Established) {
        status.insert(CtStatus::ASSURED);
    }
    ProtocolVerdict::Accept { refresh: Some(timeout) }
}

fn timeout_of(track: &TcpTrack, segment: &TrackedSegment, settings: &ConntrackSettings) -> Duration {
    let timeouts = &settings.timeouts;
    let regular = timeouts.tcp(track.state);
    let after_retransmission = seconds(timeouts.tcp_max_retrans);
    let unacknowledged = seconds(timeouts.tcp_unacknowledged);
    let has_unacknowledged =
        track.peers.iter().any(|peer| peer.flags.contains(PeerFlags::DATA_UNACKNOWLEDGED));
    if track.retransmissions >= settings.tcp_max_retrans && regular > after_retransmission {
        after_retransmission
    } else if segment.kind == SegmentKind::Rst {
        timeouts.tcp(TcpState::Close)
    } else if has_unacknowledged && regular > unacknowledged {
        unacknowledged
    } else if track.last.window == 0 && regular > after_retransmission {
        after_retransmission
    } else {
        regular
    }
}
