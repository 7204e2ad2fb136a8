//! Which segment leads from which state to which (`tcp_conntracks`, net/netfilter/nf_conntrack_proto_tcp.c).

use crate::ct::TcpState;
use crate::tuple::Direction;
use crate::wire::TcpFlags;

/// What a segment is by its flags (`enum tcp_bit_set`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SegmentKind {
    /// SYN without ACK.
    Syn,
    /// SYN with ACK.
    SynAck,
    /// FIN.
    Fin,
    /// ACK alone.
    Ack,
    /// RST.
    Rst,
    /// None of these.
    None,
}

impl SegmentKind {
    /// Linux: `get_conntrack_index`. RST outweighs SYN, which outweighs FIN, which outweighs ACK.
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

/// Where a segment leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transition {
    /// To that state, if the segment lies in the window.
    To(TcpState),
    /// Nowhere: it may be right while the entry is out of step.
    Ignore,
    /// It is wrong.
    Invalid,
}

/// Where a segment of that kind and direction leads from `state`.
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
        // SYN: opens, opens again (RFC 1122 §4.2.2.13), or is answered by an end that knows better.
        [SS, SS, IG, IG, IG, IG, IG, SS, SS, S2],
        // SYN/ACK: the opener sends one only if both opened at once.
        [IV, IV, SR, IV, IV, IV, IV, IV, IV, SR],
        // FIN: the first or second of the two.
        [IV, IV, FW, FW, LA, LA, LA, TW, CL, IV],
        // ACK: of a connection that nobody has seen begin, or of what came last.
        [ES, IV, ES, ES, CW, CW, TW, TW, CL, IV],
        // RST.
        [IV, CL, CL, CL, CL, CL, CL, CL, CL, CL],
        [IV; 10],
    ],
    [
        // SYN: both open at once, or the former server opens the next connection.
        [IV, S2, IV, IV, IV, IV, IV, SS, IV, S2],
        // SYN/ACK: opens, or answers a SYN that was ignored.
        [IV, SR, IG, IG, IG, IG, IG, IG, IG, SR],
        // FIN.
        [IV, IV, FW, FW, LA, LA, LA, TW, CL, IV],
        // ACK: before a SYN/ACK it means that the server holds a half-open connection.
        [IV, IG, SR, ES, CW, CW, TW, TW, CL, IG],
        // RST.
        [IV, CL, CL, CL, CL, CL, CL, CL, CL, CL],
        [IV; 10],
    ],
];
