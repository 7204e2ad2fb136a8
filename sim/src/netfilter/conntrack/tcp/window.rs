//! Checks whether a segment can belong to its connection.
//!
//! The tracker is in the middle and never knows the true windows. Like Linux, it follows Guido van Rooij, "Real
//! Stateful TCP Packet Filtering in IP Filter" (2000), and checks four conditions:
//!
//! 1. the segment starts within what the receiver permits;
//! 2. it ends within what the receiver may still accept;
//! 3. it acknowledges nothing that the receiver has not sent;
//! 4. its ACK is not too old.

use super::peer::{Peer, PeerFlags};
use super::{SegmentKind, TcpTrack, TrackedSegment};
use crate::ct::TcpState;
use crate::mutation::Mutation;
use crate::netfilter::conntrack::ConntrackSettings;
use crate::tuple::Direction;
use crate::wire::tcp_option::{SackBlocks, aligned_timestamps};
use crate::wire::{TcpFlags, TcpOption};

/// True if `a` precedes `b` in sequence space (RFC 9293 §3.4).
pub(super) const fn before(a: u32, b: u32) -> bool {
    a.wrapping_sub(b).cast_signed() < 0
}

/// True if `a` follows `b` in sequence space.
pub(super) const fn after(a: u32, b: u32) -> bool {
    before(b, a)
}

/// The result (`enum nf_ct_tcp_action`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum InWindow {
    /// Within the window.
    Accept,
    /// Undecided; the segment passes without effect.
    Ignore,
    /// Outside, with a description.
    Invalid(&'static str),
}

/// Linux: `MAXACKWINCONST`.
const MIN_ACK_WINDOW: u32 = 66_000;

/// The values that are checked.
struct Claim {
    sequence: u32,
    end: u32,
    ack: u32,
    /// The highest right edge of a SACK block, or `ack`.
    sack: u32,
    window: u32,
}

/// Checks a segment and updates the windows (`tcp_in_window`).
pub(super) fn tcp_in_window(
    track: &mut TcpTrack,
    segment: &TrackedSegment,
    direction: Direction,
    settings: &ConntrackSettings,
) -> InWindow {
    let state = track.state;
    let [original, reply] = &mut track.peers;
    let (sender, receiver) = match direction {
        Direction::Original => (original, reply),
        Direction::Reply => (reply, original),
    };
    let ack = segment.acknowledgment;
    let sack = if receiver.flags.contains(PeerFlags::SACK_PERMITTED) {
        highest_sack(segment.options, ack)
    } else {
        ack
    };
    if introduce(sender, receiver, segment, direction, sack, state) {
        return InWindow::Accept;
    }
    let mut claim =
        Claim { sequence: segment.sequence, end: segment.end, ack, sack, window: u32::from(segment.window) };
    // Some stacks send RST with ACK and an acknowledgment of zero.
    if !segment.has(TcpFlags::ACK) || (segment.has(TcpFlags::RST) && ack == 0) {
        (claim.ack, claim.sack) = (receiver.end, receiver.end);
    }
    // A RST in reply to a SYN.
    if segment.has(TcpFlags::RST) && claim.sequence == 0 && state == TcpState::SynSent {
        (claim.sequence, claim.end) = (sender.end, sender.end);
    }
    let is_liberal = sender.flags.contains(PeerFlags::BE_LIBERAL)
        || settings.tcp_be_liberal
        || Mutation::WindowUnchecked.is_on();
    match judge(sender, receiver, &claim) {
        InWindow::Accept => {
            learn(sender, receiver, segment, &mut claim);
            count_retransmissions(track, segment, direction, &claim);
            InWindow::Accept
        }
        // Only the verdict is liberal: such a segment does not update the windows.
        InWindow::Ignore | InWindow::Invalid(_) if is_liberal => InWindow::Accept,
        refused @ (InWindow::Ignore | InWindow::Invalid(_)) => refused,
    }
}

/// Initializes the state of an end from its first segment, or from a SYN that replaces an earlier one. True if there is
/// nothing to check.
fn introduce(
    sender: &mut Peer,
    receiver: &mut Peer,
    segment: &TrackedSegment,
    direction: Direction,
    sack: u32,
    state: TcpState,
) -> bool {
    let is_syn = segment.has(TcpFlags::SYN);
    if sender.max_window == 0 && !is_syn {
        // Mid-stream pickup.
        let window = (u32::from(segment.window) << sender.scale).max(1);
        sender.end = segment.end;
        sender.max_window = window;
        sender.max_end = segment.end.wrapping_add(window);
        if receiver.max_window == 0 {
            (receiver.end, receiver.max_end) = (sack, sack);
        } else if sack == receiver.end.wrapping_add(1) {
            // Probably the reply to a keep-alive.
            receiver.end = sack;
        }
        return false;
    }
    let replaces = is_syn
        && after(segment.end, sender.end)
        && (state == TcpState::SynSent || state == TcpState::SynRecv);
    if sender.max_window != 0 && !replaces {
        return false;
    }
    let is_first = sender.max_window == 0;
    init_sender(sender, receiver, segment, direction);
    !segment.has(TcpFlags::ACK) && (is_first || direction == Direction::Reply)
}

/// Linux: `tcp_init_sender`.
fn init_sender(sender: &mut Peer, receiver: &mut Peer, segment: &TrackedSegment, direction: Direction) {
    sender.end = segment.end;
    sender.max_end = segment.end;
    sender.max_window = u32::from(segment.window).max(1);
    sender.learn(segment.options);
    // RFC 7323 §2.2: windows are scaled only if both ends offer it.
    let both =
        sender.flags.contains(PeerFlags::WINDOW_SCALE) && receiver.flags.contains(PeerFlags::WINDOW_SCALE);
    if direction == Direction::Reply && !both {
        (sender.scale, receiver.scale) = (0, 0);
    }
}

fn judge(sender: &mut Peer, receiver: &Peer, claim: &Claim) -> InWindow {
    let oldest_end = sender.end.wrapping_sub(receiver.max_window).wrapping_sub(1);
    let ack_window = sender.max_window.max(MIN_ACK_WINDOW);
    let oldest_ack = receiver.end.wrapping_sub(ack_window).wrapping_sub(1);
    let acks_what_was_sent = before(claim.sack, receiver.end.wrapping_add(1));
    if !before(claim.sequence, sender.max_end.wrapping_add(1)) {
        let overshot = claim.end.wrapping_sub(sender.max_end).wrapping_add(1);
        let is_only_too_long = receiver.max_window != 0
            && after(claim.end, oldest_end)
            && after(claim.sack, oldest_ack)
            && overshot <= receiver.max_window
            && acks_what_was_sent;
        if is_only_too_long {
            // The peer may accept it all the same, and will then acknowledge it.
            sender.end = claim.end;
            sender.flags.insert(PeerFlags::DATA_UNACKNOWLEDGED);
            return InWindow::Ignore;
        }
        return InWindow::Invalid("a TCP segment beyond the window of its receiver");
    }
    if !acks_what_was_sent {
        return InWindow::Invalid("a TCP segment that acknowledges what was not sent");
    }
    if receiver.max_window != 0 && !after(claim.end, oldest_end) {
        // A retransmission of acknowledged data.
        return InWindow::Ignore;
    }
    if !after(claim.sack, oldest_ack) {
        return InWindow::Ignore;
    }
    InWindow::Accept
}

fn learn(sender: &mut Peer, receiver: &mut Peer, segment: &TrackedSegment, claim: &mut Claim) {
    // RFC 7323 §2.2: the window of a SYN is never scaled.
    if !segment.has(TcpFlags::SYN) {
        claim.window <<= sender.scale;
    }
    sender.max_window = sender.max_window.max(claim.window.wrapping_add(claim.sack.wrapping_sub(claim.ack)));
    if after(claim.end, sender.end) {
        sender.end = claim.end;
        sender.flags.insert(PeerFlags::DATA_UNACKNOWLEDGED);
    }
    if segment.has(TcpFlags::ACK)
        && (!sender.flags.contains(PeerFlags::MAX_ACK_SET) || after(claim.ack, sender.max_ack))
    {
        sender.max_ack = claim.ack;
        sender.flags.insert(PeerFlags::MAX_ACK_SET);
    }
    if receiver.max_window != 0 && after(claim.end, sender.max_end) {
        receiver.max_window = receiver.max_window.wrapping_add(claim.end.wrapping_sub(sender.max_end));
    }
    let right_edge = claim.sack.wrapping_add(claim.window);
    if after(right_edge, receiver.max_end.wrapping_sub(1)) {
        receiver.max_end = if claim.window == 0 { right_edge.wrapping_add(1) } else { right_edge };
    }
    if claim.ack == receiver.end {
        receiver.flags.remove(PeerFlags::DATA_UNACKNOWLEDGED);
    }
}

fn count_retransmissions(
    track: &mut TcpTrack,
    segment: &TrackedSegment,
    direction: Direction,
    claim: &Claim,
) {
    if segment.kind != SegmentKind::Ack {
        return;
    }
    let last = &mut track.last;
    let is_same = last.direction == direction
        && last.sequence == claim.sequence
        && last.acknowledgment == claim.ack
        && last.end == claim.end
        && last.window == segment.window;
    if is_same {
        track.retransmissions = track.retransmissions.wrapping_add(1);
        return;
    }
    last.direction = direction;
    last.sequence = claim.sequence;
    last.acknowledgment = claim.ack;
    last.end = claim.end;
    last.window = segment.window;
    track.retransmissions = 0;
}

/// The highest right edge among `ack` and the blocks of the first SACK option (`tcp_sack`).
fn highest_sack(options: &[u8], ack: u32) -> u32 {
    if aligned_timestamps(options).is_some() {
        return ack;
    }
    let blocks = TcpOption::iter(options)
        .find_map(|option| if let TcpOption::Sack(blocks) = option { Some(blocks) } else { None });
    let edges = blocks.into_iter().flat_map(SackBlocks::iter).map(|(_, right)| right);
    edges.fold(ack, |highest, right| if after(right, highest) { right } else { highest })
}
