//! Tracks SCTP by its chunks (net/netfilter/nf_conntrack_proto_sctp.c; chunk types of RFC 9260 §3.2).

mod table;

use super::ConntrackSettings;
use super::verdict::ProtocolVerdict;
use crate::ct::{CtStatus, SctpState};
use crate::tuple::Direction;
use crate::wire::{be16, be32};
use smallvec::SmallVec;
use table::transition;

/// Chunk types that change the state; others, such as DATA and SACK, do not.
mod chunk {
    pub(super) const DATA: u8 = 0;
    pub(super) const INIT: u8 = 1;
    pub(super) const INIT_ACK: u8 = 2;
    pub(super) const HEARTBEAT: u8 = 4;
    pub(super) const HEARTBEAT_ACK: u8 = 5;
    pub(super) const ABORT: u8 = 6;
    pub(super) const SHUTDOWN: u8 = 7;
    pub(super) const SHUTDOWN_ACK: u8 = 8;
    pub(super) const ERROR: u8 = 9;
    pub(super) const COOKIE_ECHO: u8 = 10;
    pub(super) const COOKIE_ACK: u8 = 11;
    pub(super) const SHUTDOWN_COMPLETE: u8 = 14;
}

/// Length of the common header in bytes (RFC 9260 §3.1).
const COMMON_HEADER_LEN: usize = 12;
/// Length of an INIT chunk without optional parameters, in bytes (RFC 9260 §3.3.2).
const INIT_LEN: usize = 20;

/// State of an association (`struct ip_ct_sctp`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SctpTrack {
    pub(super) state: SctpState,
    /// The verification tag in each direction; zero if unknown.
    tags: [u32; 2],
    /// An INIT was seen in that direction and not answered: in both directions it is a collision (RFC 9260 §5.2.1).
    has_init: [bool; 2],
    /// The direction of a heartbeat with an unknown tag, which its reply may confirm.
    doubted_heartbeat: Option<Direction>,
}

struct Chunk {
    kind: u8,
    /// The T bit: the sender had no tag of its own and reflects the peer's (RFC 9260 §8.5.1).
    is_reflected: bool,
    /// Of INIT and INIT ACK, if complete.
    initiate_tag: Option<u32>,
}

/// A packet split into chunks.
pub(super) struct SctpPacket {
    tag: u32,
    chunks: SmallVec<[Chunk; 4]>,
}

impl SctpPacket {
    /// Parses a packet; `None` if its combination of chunks is invalid (`do_basic_checks`).
    pub(super) fn parse(l4: &[u8]) -> Option<Self> {
        let mut rest = l4.get(COMMON_HEADER_LEN..)?;
        let mut chunks = SmallVec::new();
        let mut must_stand_alone = false;
        while rest.len() >= 4 {
            let (kind, length) = (rest[0], usize::from(be16(rest, 2)));
            must_stand_alone |= matches!(kind, chunk::INIT | chunk::INIT_ACK | chunk::SHUTDOWN_COMPLETE);
            let must_be_first = matches!(kind, chunk::COOKIE_ACK | chunk::COOKIE_ECHO);
            if length == 0 || (!chunks.is_empty() && (must_stand_alone || must_be_first)) {
                return None;
            }
            let is_init = matches!(kind, chunk::INIT | chunk::INIT_ACK);
            let initiate_tag = (is_init && rest.len() >= INIT_LEN).then(|| be32(rest, 4));
            chunks.push(Chunk { kind, is_reflected: rest[1] & 1 == 1, initiate_tag });
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or(&[]);
        }
        (!chunks.is_empty()).then_some(Self { tag: be32(l4, 4), chunks })
    }

    fn has(&self, kinds: &[u8]) -> bool {
        self.chunks.iter().any(|chunk| kinds.contains(&chunk.kind))
    }
}

impl SctpTrack {
    /// The state after a first packet, or `None` if it cannot start a flow (`sctp_new`).
    pub(super) fn begin(packet: &SctpPacket) -> Option<Self> {
        // RFC 9260 §8.4: out-of-the-blue packets.
        if packet.has(&[chunk::ABORT, chunk::SHUTDOWN_COMPLETE, chunk::COOKIE_ACK]) {
            return None;
        }
        let mut track =
            Self { state: SctpState::None, tags: [0; 2], has_init: [false; 2], doubted_heartbeat: None };
        for chunk in &packet.chunks {
            match transition(Direction::Original, chunk.kind, SctpState::None) {
                None | Some(SctpState::None) => return None,
                Some(_) => {}
            }
            match chunk.kind {
                chunk::INIT if packet.tag != 0 => return None,
                chunk::INIT => track.tags[Direction::Reply as usize] = chunk.initiate_tag?,
                chunk::HEARTBEAT => track.tags[Direction::Original as usize] = packet.tag,
                chunk::SHUTDOWN_ACK => track.tags[Direction::Reply as usize] = packet.tag,
                _ => {}
            }
        }
        Some(track)
    }

    /// SCTP state.
    pub const fn state(&self) -> SctpState {
        self.state
    }
}

const WRONG_TAG: &str = "an SCTP packet with the verification tag of another association";
const WRONG_STATE: &str = "an SCTP chunk that does not fit the state of its association";

/// Processes a packet of a tracked association (`nf_conntrack_sctp_packet`).
pub(super) fn sctp_packet(
    track: &mut SctpTrack,
    status: &mut CtStatus,
    packet: &SctpPacket,
    direction: Direction,
    settings: &ConntrackSettings,
) -> ProtocolVerdict {
    // Chunks with special tag rules, which follow in check_tag.
    let is_special = packet.has(&[
        chunk::INIT,
        chunk::SHUTDOWN_COMPLETE,
        chunk::COOKIE_ECHO,
        chunk::ABORT,
        chunk::SHUTDOWN_ACK,
        chunk::HEARTBEAT,
        chunk::HEARTBEAT_ACK,
    ]);
    if !is_special && packet.tag != track.tags[direction as usize] {
        return ProtocolVerdict::Invalid(WRONG_TAG);
    }
    let mut keeps_timer = false;
    for chunk in &packet.chunks {
        match check_tag(track, packet, chunk, direction, keeps_timer) {
            TagCheck::Right => {}
            TagCheck::Doubtful => {
                keeps_timer = true;
                continue;
            }
            TagCheck::Wrong => return ProtocolVerdict::Invalid(WRONG_TAG),
        }
        let old = track.state;
        let Some(new) = transition(direction, chunk.kind, old) else {
            return ProtocolVerdict::Invalid(WRONG_STATE);
        };
        if !learn_tag(track, chunk, direction) {
            return ProtocolVerdict::Invalid(WRONG_TAG);
        }
        // A retransmitted INIT does not refresh the timer, like a SYN.
        if chunk.kind == chunk::INIT
            && (old, new) == (SctpState::Closed, SctpState::Closed)
            && status.contains(CtStatus::CONFIRMED)
        {
            keeps_timer = true;
        }
        track.state = new;
        if old != new && new == SctpState::Established {
            status.insert(CtStatus::ASSURED);
        }
    }
    ProtocolVerdict::Accept { refresh: (!keeps_timer).then(|| settings.timeouts.sctp(track.state)) }
}

/// Result of the tag check of a chunk.
enum TagCheck {
    Right,
    Wrong,
    /// A heartbeat on a path whose tag is unknown: it passes without changing the state.
    Doubtful,
}

/// RFC 9260 §8.5.1.
fn check_tag(
    track: &mut SctpTrack,
    packet: &SctpPacket,
    chunk: &Chunk,
    direction: Direction,
    has_doubtful: bool,
) -> TagCheck {
    let (own, peer) = (direction as usize, direction.opposite() as usize);
    let right_if = |holds| if holds { TagCheck::Right } else { TagCheck::Wrong };
    match chunk.kind {
        chunk::INIT => right_if(packet.tag == 0),
        chunk::ABORT | chunk::SHUTDOWN_COMPLETE => {
            right_if(packet.tag == track.tags[if chunk.is_reflected { peer } else { own }])
        }
        chunk::COOKIE_ECHO => right_if(packet.tag == track.tags[own]),
        chunk::COOKIE_ACK => {
            track.has_init = [false; 2];
            TagCheck::Right
        }
        chunk::HEARTBEAT | chunk::HEARTBEAT_ACK if track.tags[own] == 0 => {
            track.tags[own] = packet.tag;
            TagCheck::Right
        }
        chunk::HEARTBEAT | chunk::HEARTBEAT_ACK if track.tags[own] == packet.tag => {
            track.doubted_heartbeat = None;
            TagCheck::Right
        }
        chunk::HEARTBEAT | chunk::HEARTBEAT_ACK if packet.has(&[chunk::DATA]) || has_doubtful => {
            TagCheck::Wrong
        }
        chunk::HEARTBEAT => {
            track.doubted_heartbeat = Some(direction);
            TagCheck::Doubtful
        }
        // The reply to an unconfirmed heartbeat settles both tags.
        chunk::HEARTBEAT_ACK if track.doubted_heartbeat == Some(direction.opposite()) => {
            track.doubted_heartbeat = None;
            track.tags[own] = packet.tag;
            track.tags[peer] = 0;
            TagCheck::Right
        }
        chunk::HEARTBEAT_ACK => TagCheck::Wrong,
        _ => TagCheck::Right,
    }
}

/// INIT and INIT ACK announce the tag that the peer must use. False if it contradicts a known tag.
fn learn_tag(track: &mut SctpTrack, chunk: &Chunk, direction: Direction) -> bool {
    if chunk.kind != chunk::INIT && chunk.kind != chunk::INIT_ACK {
        return true;
    }
    let Some(tag) = chunk.initiate_tag else { return false };
    let (own, peer) = (direction as usize, direction.opposite() as usize);
    if chunk.kind == chunk::INIT {
        if track.has_init[own] && track.has_init[peer] {
            track.has_init[peer] = false;
        }
        track.has_init[own] = true;
    } else {
        let known = track.tags[peer];
        let is_answer_to_nothing = !track.has_init[peer] && known != 0 && known != tag;
        let is_collision = track.has_init[own] && track.has_init[peer] && known != tag;
        if is_answer_to_nothing || is_collision {
            return false;
        }
    }
    track.tags[peer] = tag;
    true
}
