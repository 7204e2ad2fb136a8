//! Tracks TCP (net/netfilter/nf_conntrack_proto_tcp.c).
//!
//! The tracker sees both directions from the middle. Each segment is checked twice: against the state table by its
//! flags, and against the window, to decide whether it can belong to this connection at all.

mod judge;
mod options;
mod peer;
mod table;
mod window;

pub(super) use judge::tcp_packet;

use super::ConntrackSettings;
use crate::ct::TcpState;
use crate::mutation::Mutation;
use crate::tuple::Direction;
use crate::wire::{Tcp, TcpFlags};
use peer::{Peer, PeerFlags};
use table::{SegmentKind, Transition, transition};

/// State of a connection (`struct ip_ct_tcp`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcpTrack {
    pub(super) state: TcpState,
    peers: [Peer; 2],
    last: Last,
    /// How often the last segment was retransmitted.
    retransmissions: u8,
}

/// The last segment that changed the state, or was passed unchecked.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Last {
    direction: Direction,
    kind: SegmentKind,
    sequence: u32,
    acknowledgment: u32,
    end: u32,
    window: u16,
    scale: u8,
    flags: PeerFlags,
}

/// The fields of a segment that are tracked.
#[derive(Clone, Copy, Debug)]
pub(super) struct TrackedSegment<'a> {
    flags: TcpFlags,
    kind: SegmentKind,
    sequence: u32,
    acknowledgment: u32,
    /// The sequence number after the segment; SYN and FIN count as one each.
    end: u32,
    window: u16,
    options: &'a [u8],
}

impl<'a> TrackedSegment<'a> {
    /// Parses a segment; `None` if it is shorter than its header says.
    pub(super) fn parse(l4: &'a [u8]) -> Option<Self> {
        let tcp = Tcp::new_checked(l4)?;
        let (flags, header_len) = (tcp.flags(), tcp.header_len());
        let control = [TcpFlags::SYN, TcpFlags::FIN].into_iter().filter(|flag| flags.contains(*flag)).count();
        let length = u32::try_from(l4.len() - header_len + control).ok()?;
        Some(Self {
            flags,
            kind: SegmentKind::of(flags),
            sequence: tcp.sequence(),
            acknowledgment: tcp.acknowledgment(),
            end: tcp.sequence().wrapping_add(length),
            window: tcp.window(),
            options: &l4[crate::wire::tcp::TCP_HEADER_LEN..header_len],
        })
    }

    const fn has(&self, flag: TcpFlags) -> bool {
        self.flags.contains(flag)
    }
}

/// Valid flag combinations; PSH, ECE and CWR are ignored (`tcp_valid_flags`).
pub(super) fn has_valid_flags(flags: TcpFlags) -> bool {
    const SYN: u8 = TcpFlags::SYN.0;
    const ACK: u8 = TcpFlags::ACK.0;
    const RST: u8 = TcpFlags::RST.0;
    const FIN: u8 = TcpFlags::FIN.0;
    const URG: u8 = TcpFlags::URG.0;
    const VALID: [u8; 9] =
        [SYN, SYN | URG, SYN | ACK, RST, RST | ACK, FIN | ACK, FIN | ACK | URG, ACK, ACK | URG];
    VALID.contains(&(flags.0 & (SYN | ACK | RST | FIN | URG)))
}

impl TcpTrack {
    /// The state after a first segment, or why it cannot start a flow (`tcp_new`).
    pub(super) fn begin(
        segment: &TrackedSegment,
        settings: &ConntrackSettings,
    ) -> Result<Self, &'static str> {
        let mut track = Self {
            state: TcpState::None,
            peers: [Peer::default(); 2],
            last: Last {
                direction: Direction::Original,
                kind: SegmentKind::None,
                sequence: 0,
                acknowledgment: 0,
                end: 0,
                window: 0,
                scale: 0,
                flags: PeerFlags::default(),
            },
            retransmissions: 0,
        };
        let window = u32::from(segment.window).max(1);
        match transition(Direction::Original, segment.kind, TcpState::None) {
            Transition::To(TcpState::SynSent) => {
                track.peers[0] =
                    Peer { end: segment.end, max_end: segment.end, max_window: window, ..Peer::default() };
                track.peers[0].learn(segment.options);
                Ok(track)
            }
            Transition::Ignore | Transition::Invalid => Err("a TCP segment that cannot begin a connection"),
            Transition::To(_) if !settings.tcp_loose || Mutation::MidstreamRefused.is_on() => {
                Err("the middle of an unknown TCP connection")
            }
            Transition::To(_) => {
                // The handshake was missed, and window scaling with it: hence no strict checks.
                let flags = PeerFlags::SACK_PERMITTED.union(PeerFlags::BE_LIBERAL);
                track.peers[0] = Peer {
                    end: segment.end,
                    max_end: segment.end.wrapping_add(window),
                    max_window: window,
                    flags,
                    ..Peer::default()
                };
                track.peers[1].flags = flags;
                Ok(track)
            }
        }
    }

    /// TCP state.
    pub const fn state(&self) -> TcpState {
        self.state
    }

    /// The sequence number after everything that the client has sent (`seen[0].td_end`).
    pub(crate) const fn original_end(&self) -> u32 {
        self.peers[0].end
    }

    /// True if it is closing, so that the tuple may be reused (`tcp_can_early_drop`).
    pub(super) const fn is_closing(&self) -> bool {
        match self.state {
            TcpState::FinWait
            | TcpState::CloseWait
            | TcpState::LastAck
            | TcpState::TimeWait
            | TcpState::Close => true,
            TcpState::None
            | TcpState::SynSent
            | TcpState::SynRecv
            | TcpState::Established
            | TcpState::SynSent2 => false,
        }
    }

    /// Forces CLOSE after the firewall itself sent a RST (`nf_conntrack_tcp_set_closing`). True if it was not closed
    /// before.
    pub(super) fn set_closing(&mut self) -> bool {
        std::mem::replace(&mut self.state, TcpState::Close) != TcpState::Close
    }
}
