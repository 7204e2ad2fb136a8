//! State transitions by segment (`tcp_conntracks`, net/netfilter/nf_conntrack_proto_tcp.c).

use crate::ct::TcpState;
use crate::tuple::Direction;
use crate::wire::TcpFlags;

/// Classification of a segment by its flags (`enum tcp_bit_set`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SegmentKind {
    /// SYN without ACK.
    Syn,
    /// SYN with ACK.
    SynAck,
    /// FIN.
    Fin,
    /// Only ACK.
    Ack,
    /// RST.
    Rst,
    /// None of these.
    None,
}

impl SegmentKind {
    /// Linux: `get_conntrack_index`. Precedence is RST, SYN, FIN, ACK.
    pub(super) const fn of(flags: TcpFlags) -> Self {
        if flags.contains(TcpFlags::RST) {
            Self::Rst
        } else if flags.contains(TcpFlags::SYN) {
            if flags.contains(TcpFlags::ACK) { Self::SynAck } else { Self::Syn }
        } else if flags.contains(TcpFlags::FIN) {
            Self::Fin
        } else if flags.contains(TcpFlags::ACK) {
            Self::Ack
        } else {
            Self::None
        }
    }
}

/// The transition for a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transition {
    /// To that state, if the segment is within the window.
    To(TcpState),
    /// None: the segment may be valid while the entry is out of sync.
    Ignore,
    /// The segment is invalid.
    Invalid,
}

/// The transition for a segment of that kind and direction in `state`.
pub(super) const fn transition(direction: Direction, kind: SegmentKind, state: TcpState) -> Transition {
    TABLE[direction as usize][kind as usize][state as usize]
}

const SS: Transition = Transition::To(TcpState::SynSent);
const SR: Transition = Transition::To(TcpState::SynRecv);
const ES: Transition = Transition::To(TcpState::Established);
const FW: Transition = Transition::To(TcpState::FinWait);
const CW: Transition = Transition::To(TcpState::CloseWait);
const LA: Transition = Transition::To(TcpState::LastAck);
const TW: Transition = Transition::To(TcpState::TimeWait);
const CL: Transition = Transition::To(TcpState::Close);
const S2: Transition = Transition::To(TcpState::SynSent2);
const IG: Transition = Transition::Ignore;
const IV: Transition = Transition::Invalid;

/// By direction, kind of segment, and state: NONE, SYN_SENT, SYN_RECV, ESTABLISHED, FIN_WAIT, CLOSE_WAIT, LAST_ACK,
/// TIME_WAIT, CLOSE, SYN_SENT2.
#[rustfmt::skip]
const TABLE: [[[Transition; 10]; 6]; 2] = [
    [
        // SYN: opens, reopens (RFC 1122 §4.2.2.13), or is answered by an end that knows better.
        [SS, SS, IG, IG, IG, IG, IG, SS, SS, S2],
        // SYN/ACK: the client sends one only in a simultaneous open.
        [IV, IV, SR, IV, IV, IV, IV, IV, IV, SR],
        // FIN: the first or the second one.
        [IV, IV, FW, FW, LA, LA, LA, TW, CL, IV],
        // ACK: mid-stream pickup, or acknowledges the latest segment.
        [ES, IV, ES, ES, CW, CW, TW, TW, CL, IV],
        // RST.
        [IV, CL, CL, CL, CL, CL, CL, CL, CL, CL],
        [IV; 10],
    ],
    [
        // SYN: a simultaneous open, or the former server opens the next connection.
        [IV, S2, IV, IV, IV, IV, IV, SS, IV, S2],
        // SYN/ACK: opens, or answers a SYN that was ignored.
        [IV, SR, IG, IG, IG, IG, IG, IG, IG, SR],
        // FIN.
        [IV, IV, FW, FW, LA, LA, LA, TW, CL, IV],
        // ACK: before a SYN/ACK it means that the server has a half-open connection.
        [IV, IG, SR, ES, CW, CW, TW, TW, CL, IG],
        // RST.
        [IV, CL, CL, CL, CL, CL, CL, CL, CL, CL],
        [IV; 10],
    ],
];
