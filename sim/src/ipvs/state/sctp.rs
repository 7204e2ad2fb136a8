//! SCTP states.

use super::super::segment::SctpEvent;
use super::Way;
use crate::time::Duration;

/// The state of an SCTP association (`IP_VS_SCTP_S_*`, include/net/ip_vs.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "states of the server, RFC 9260, with the steps of the handshake")]
pub enum SctpState {
    None,
    Init1,
    Init,
    CookieSent,
    CookieReplied,
    CookieWait,
    Cookie,
    CookieEchoed,
    Established,
    ShutdownSent,
    ShutdownReceived,
    ShutdownAckSent,
    Rejected,
    Closed,
}

use SctpState as S;

/// Linux: `IP_VS_SCTP_MAX_RTO`.
const MAX_RTO: u64 = 61;

impl SctpState {
    /// Linux: sctp_state_name_table, net/netfilter/ipvs/ip_vs_proto_sctp.c.
    pub(super) const fn name(self) -> &'static str {
        match self {
            S::None => "NONE",
            S::Init1 => "INIT1",
            S::Init => "INIT",
            S::CookieSent => "C-SENT",
            S::CookieReplied => "C-REPLIED",
            S::CookieWait => "C-WAIT",
            S::Cookie => "COOKIE",
            S::CookieEchoed => "C-ECHOED",
            S::Established => "ESTABLISHED",
            S::ShutdownSent => "S-SENT",
            S::ShutdownReceived => "S-RECEIVED",
            S::ShutdownAckSent => "S-ACK-SENT",
            S::Rejected => "REJECTED",
            S::Closed => "CLOSED",
        }
    }

    /// Linux: sctp_timeouts, net/netfilter/ipvs/ip_vs_proto_sctp.c.
    pub(super) const fn timeout(self) -> Duration {
        Duration::from_secs(match self {
            S::None => 2,
            S::Init1 | S::Rejected => 4,
            S::Established => 15 * 60,
            S::Init
            | S::CookieSent
            | S::CookieReplied
            | S::CookieWait
            | S::Cookie
            | S::CookieEchoed
            | S::ShutdownSent
            | S::ShutdownReceived
            | S::ShutdownAckSent
            | S::Closed => MAX_RTO,
        })
    }

    /// Linux: set_sctp_state, net/netfilter/ipvs/ip_vs_proto_sctp.c.
    pub(super) const fn after(self, event: SctpEvent, way: Way) -> Self {
        TABLE[way as usize][event as usize][self as usize]
    }
}

const I1: S = S::Init1;
const IN: S = S::Init;
const CS: S = S::CookieSent;
const CR: S = S::CookieReplied;
const CW: S = S::CookieWait;
const CO: S = S::Cookie;
const CE: S = S::CookieEchoed;
const ES: S = S::Established;
const SS: S = S::ShutdownSent;
const SR: S = S::ShutdownReceived;
const SA: S = S::ShutdownAckSent;
const RJ: S = S::Rejected;
const CL: S = S::Closed;

// By direction (in, out, in only), event and state. Rows and columns are in the order of the enums.
// Linux: sctp_states, net/netfilter/ipvs/ip_vs_proto_sctp.c.
#[rustfmt::skip]
const TABLE: [[[SctpState; 14]; 10]; 3] = [
    [
        [ES, I1, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL],
        [I1, IN, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, IN, IN],
        [CW, CW, CW, CS, CR, CO, CO, CE, ES, SS, SR, SA, RJ, CL],
        [CR, IN, IN, CR, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL],
        [ES, I1, IN, CS, CR, CW, CO, ES, ES, SS, SR, SA, RJ, CL],
        [SR, I1, IN, CS, CR, CW, CO, CE, SR, SS, SR, SA, RJ, CL],
        [CL, IN, IN, CS, CR, CW, CO, CE, ES, CL, SR, CL, RJ, CL],
        [CL, CL, CL, CS, CR, CW, CO, CE, ES, SS, SR, CL, RJ, CL],
        [CL, I1, IN, CS, CR, CW, CO, CL, ES, SS, SR, SA, RJ, CL],
        [CL, CL, CL, CL, CL, RJ, CL, CL, CL, CL, CL, CL, CL, CL],
    ],
    [
        [ES, I1, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL],
        [CW, CW, CW, CW, CW, CW, CW, CW, ES, CW, CW, CW, CW, CW],
        [CS, CS, CS, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL],
        [CE, CE, CE, CE, CE, CE, CE, CE, ES, SS, SR, SA, RJ, CL],
        [ES, ES, ES, ES, ES, ES, ES, ES, ES, SS, SR, SA, RJ, CL],
        [SS, SS, SS, SS, SS, SS, SS, SS, SS, SS, SR, SA, RJ, CL],
        [SA, SA, SA, SA, SA, CW, CO, CE, ES, SA, SA, SA, RJ, CL],
        [CL, I1, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL],
        [CL, CL, CL, CL, CL, CW, CO, CE, ES, SS, SR, SA, RJ, CL],
        [CL, RJ, CL, CL, CL, CL, CL, CL, CL, CL, CL, CL, CL, CL],
    ],
    [
        [ES, I1, IN, CS, CR, ES, CO, CE, ES, SS, SR, SA, RJ, CL],
        [I1, IN, IN, IN, IN, IN, CO, CE, ES, SS, SR, SA, IN, IN],
        [CE, CE, CE, CE, CE, CE, CO, CE, ES, SS, SR, SA, RJ, CL],
        [ES, ES, ES, ES, ES, ES, CO, CE, ES, SS, SR, SA, RJ, CL],
        [ES, I1, IN, ES, ES, CW, ES, ES, ES, SS, SR, SA, RJ, CL],
        [SR, I1, IN, CS, CR, CW, CO, CE, SR, SS, SR, SA, RJ, CL],
        [CL, IN, IN, CS, CR, CW, CO, CE, CL, CL, SR, CL, RJ, CL],
        [CL, CL, CL, CL, CL, CW, CO, CE, ES, SS, CL, CL, RJ, CL],
        [CL, I1, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL],
        [CL, CL, CL, CL, CL, RJ, CL, CL, CL, CL, CL, CL, CL, CL],
    ],
];
