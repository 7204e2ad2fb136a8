//! TCP states.

use super::Way;
use crate::time::Duration;
use crate::wire::TcpFlags;

/// The state of a TCP connection (`IP_VS_TCP_S_*`, include/net/ip_vs.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "states of RFC 9293, seen from between client and server")]
pub enum TcpState {
    None,
    Established,
    SynSent,
    SynRecv,
    FinWait,
    TimeWait,
    Close,
    CloseWait,
    LastAck,
    Listen,
    Synack,
}

use TcpState as S;

impl TcpState {
    /// Linux: tcp_state_name_table, net/netfilter/ipvs/ip_vs_proto_tcp.c.
    pub(super) const fn name(self) -> &'static str {
        match self {
            S::None => "NONE",
            S::Established => "ESTABLISHED",
            S::SynSent => "SYN_SENT",
            S::SynRecv => "SYN_RECV",
            S::FinWait => "FIN_WAIT",
            S::TimeWait => "TIME_WAIT",
            S::Close => "CLOSE",
            S::CloseWait => "CLOSE_WAIT",
            S::LastAck => "LAST_ACK",
            S::Listen => "LISTEN",
            S::Synack => "SYNACK",
        }
    }

    /// Linux: tcp_state_active_table, net/netfilter/ipvs/ip_vs_proto_tcp.c.
    pub(super) const fn is_active(self) -> bool {
        match self {
            S::Established | S::SynSent | S::SynRecv | S::Synack => true,
            S::None | S::FinWait | S::TimeWait | S::Close | S::CloseWait | S::LastAck | S::Listen => false,
        }
    }

    /// Linux: tcp_timeouts, net/netfilter/ipvs/ip_vs_proto_tcp.c. `ipvsadm --set` changes ESTABLISHED and FIN_WAIT.
    pub(super) const fn timeout(self) -> Duration {
        Duration::from_secs(match self {
            S::None => 2,
            S::Established => 15 * 60,
            S::SynSent | S::FinWait | S::TimeWait | S::Listen | S::Synack => 2 * 60,
            S::SynRecv | S::CloseWait => 60,
            S::Close => 10,
            S::LastAck => 30,
        })
    }

    /// Linux: set_tcp_state and tcp_state_idx, net/netfilter/ipvs/ip_vs_proto_tcp.c. Without any of the four flags the
    /// connection closes.
    pub(super) const fn after(self, flags: TcpFlags, way: Way, is_secure: bool) -> Self {
        let row = if flags.contains(TcpFlags::RST) {
            3
        } else if flags.contains(TcpFlags::SYN) {
            0
        } else if flags.contains(TcpFlags::FIN) {
            1
        } else if flags.contains(TcpFlags::ACK) {
            2
        } else {
            return S::Close;
        };
        let table = if is_secure { &SECURE } else { &NORMAL };
        table[way as usize][row][self as usize]
    }
}

type Table = [[[TcpState; 11]; 4]; 3];

const ES: S = S::Established;
const SS: S = S::SynSent;
const SR: S = S::SynRecv;
const FW: S = S::FinWait;
const TW: S = S::TimeWait;
const CL: S = S::Close;
const CW: S = S::CloseWait;
const LA: S = S::LastAck;
const LI: S = S::Listen;
const SA: S = S::Synack;

// By direction (in, out, in only), flag (SYN, FIN, ACK, RST) and state. Columns are in the order of the enum.
// Linux: tcp_states and tcp_states_dos, net/netfilter/ipvs/ip_vs_proto_tcp.c.
#[rustfmt::skip]
const NORMAL: Table = [
    [
        [SR, ES, ES, SR, SR, SR, SR, SR, SR, SR, SR],
        [CL, CW, SS, TW, TW, TW, CL, CW, LA, LI, TW],
        [ES, ES, SS, ES, FW, TW, CL, CW, CL, LI, ES],
        [CL, CL, CL, SR, CL, CL, CL, CL, LA, LI, SR],
    ],
    [
        [SS, ES, SS, SR, SS, SS, SS, SS, SS, LI, SR],
        [TW, FW, SS, TW, FW, TW, CL, TW, LA, LI, TW],
        [ES, ES, SS, ES, FW, TW, CL, CW, LA, ES, ES],
        [CL, CL, SS, CL, CL, TW, CL, CL, CL, CL, CL],
    ],
    [
        [SR, ES, ES, SR, SR, SR, SR, SR, SR, SR, SR],
        [CL, FW, SS, TW, FW, TW, CL, CW, LA, LI, TW],
        [ES, ES, SS, ES, FW, TW, CL, CW, CL, LI, ES],
        [CL, CL, CL, SR, CL, CL, CL, CL, LA, LI, CL],
    ],
];

#[rustfmt::skip]
const SECURE: Table = [
    [
        [SR, ES, ES, SR, SR, SR, SR, SR, SR, SR, SA],
        [CL, CW, SS, TW, TW, TW, CL, CW, LA, LI, SA],
        [ES, ES, SS, SR, FW, TW, CL, CW, CL, LI, SA],
        [CL, CL, CL, SR, CL, CL, CL, CL, LA, LI, CL],
    ],
    [
        [SS, ES, SS, SA, SS, SS, SS, SS, SS, LI, SA],
        [TW, FW, SS, TW, FW, TW, CL, TW, LA, LI, TW],
        [ES, ES, SS, ES, FW, TW, CL, CW, LA, ES, ES],
        [CL, CL, SS, CL, CL, TW, CL, CL, CL, CL, CL],
    ],
    [
        [SA, ES, ES, SR, SA, SA, SA, SA, SA, SA, SA],
        [CL, FW, SS, TW, FW, TW, CL, CW, LA, LI, TW],
        [ES, ES, SS, ES, FW, TW, CL, CW, CL, LI, ES],
        [CL, CL, CL, SR, CL, CL, CL, CL, LA, LI, CL],
    ],
];
