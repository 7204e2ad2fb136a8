//! Timeouts after an entry's last packet, by protocol and state.

use crate::ct::{SctpState, TcpState};
use crate::mutation::Mutation;
use crate::time::Duration;

/// Timeouts in seconds, named after the sysctls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConntrackTimeouts {
    /// `nf_conntrack_tcp_timeout_syn_sent`.
    pub tcp_syn_sent: u32,
    /// `nf_conntrack_tcp_timeout_syn_recv`.
    pub tcp_syn_recv: u32,
    /// `nf_conntrack_tcp_timeout_established`.
    pub tcp_established: u32,
    /// `nf_conntrack_tcp_timeout_fin_wait`.
    pub tcp_fin_wait: u32,
    /// `nf_conntrack_tcp_timeout_close_wait`.
    pub tcp_close_wait: u32,
    /// `nf_conntrack_tcp_timeout_last_ack`.
    pub tcp_last_ack: u32,
    /// `nf_conntrack_tcp_timeout_time_wait`.
    pub tcp_time_wait: u32,
    /// `nf_conntrack_tcp_timeout_close`.
    pub tcp_close: u32,
    /// `nf_conntrack_tcp_timeout_max_retrans`.
    pub tcp_max_retrans: u32,
    /// `nf_conntrack_tcp_timeout_unacknowledged`.
    pub tcp_unacknowledged: u32,
    /// `nf_conntrack_udp_timeout`: until the flow is a stream.
    pub udp: u32,
    /// `nf_conntrack_udp_timeout_stream`: replies seen, and older than two seconds.
    pub udp_stream: u32,
    /// `nf_conntrack_icmp_timeout`.
    pub icmp: u32,
    /// `nf_conntrack_sctp_timeout_closed`.
    pub sctp_closed: u32,
    /// `nf_conntrack_sctp_timeout_cookie_wait`.
    pub sctp_cookie_wait: u32,
    /// `nf_conntrack_sctp_timeout_cookie_echoed`.
    pub sctp_cookie_echoed: u32,
    /// `nf_conntrack_sctp_timeout_established`.
    pub sctp_established: u32,
    /// `nf_conntrack_sctp_timeout_shutdown_sent`.
    pub sctp_shutdown_sent: u32,
    /// `nf_conntrack_sctp_timeout_shutdown_recd`.
    pub sctp_shutdown_recd: u32,
    /// `nf_conntrack_sctp_timeout_shutdown_ack_sent`.
    pub sctp_shutdown_ack_sent: u32,
    /// `nf_conntrack_sctp_timeout_heartbeat_sent`.
    pub sctp_heartbeat_sent: u32,
    /// `nf_conntrack_generic_timeout`: all other protocols.
    pub generic: u32,
}

impl Default for ConntrackTimeouts {
    /// The kernel's defaults: `tcp_timeouts`, `udp_timeouts`, `nf_ct_icmp_timeout`, `sctp_timeouts`,
    /// `nf_ct_generic_timeout` in net/netfilter/nf_conntrack_proto_*.c.
    fn default() -> Self {
        Self {
            tcp_syn_sent: Mutation::SynSentTimeoutShort.or(60, 120),
            tcp_syn_recv: 60,
            tcp_established: 5 * 86_400,
            tcp_fin_wait: 120,
            tcp_close_wait: 60,
            tcp_last_ack: 30,
            tcp_time_wait: Mutation::TimeWaitTimeoutShort.or(60, 120),
            tcp_close: Mutation::CloseTimeoutLong.or(20, 10),
            tcp_max_retrans: 300,
            tcp_unacknowledged: 300,
            udp: Mutation::UdpTimeoutShort.or(20, 30),
            udp_stream: Mutation::UdpStreamTimeoutLong.or(180, 120),
            icmp: Mutation::IcmpTimeoutShort.or(10, 30),
            sctp_closed: 10,
            sctp_cookie_wait: 3,
            sctp_cookie_echoed: 3,
            // 5 days before Linux 5.18.
            sctp_established: 210,
            sctp_shutdown_sent: 3,
            sctp_shutdown_recd: 3,
            sctp_shutdown_ack_sent: 3,
            sctp_heartbeat_sent: 30,
            generic: 600,
        }
    }
}

impl ConntrackTimeouts {
    /// The timeout of a TCP state.
    pub(crate) fn tcp(&self, state: TcpState) -> Duration {
        seconds(match state {
            TcpState::None | TcpState::SynSent => self.tcp_syn_sent,
            // There is no sysctl for this one.
            TcpState::SynSent2 => 120,
            TcpState::SynRecv => self.tcp_syn_recv,
            TcpState::Established => {
                Mutation::EstablishedTimeoutShort.or(self.tcp_established / 2, self.tcp_established)
            }
            TcpState::FinWait => self.tcp_fin_wait,
            TcpState::CloseWait => self.tcp_close_wait,
            TcpState::LastAck => self.tcp_last_ack,
            TcpState::TimeWait => self.tcp_time_wait,
            TcpState::Close => self.tcp_close,
        })
    }

    /// The timeout of an SCTP state.
    pub(crate) fn sctp(&self, state: SctpState) -> Duration {
        seconds(match state {
            SctpState::None | SctpState::Closed => self.sctp_closed,
            SctpState::CookieWait => self.sctp_cookie_wait,
            SctpState::CookieEchoed => self.sctp_cookie_echoed,
            SctpState::Established => self.sctp_established,
            SctpState::ShutdownSent => self.sctp_shutdown_sent,
            SctpState::ShutdownRecd => self.sctp_shutdown_recd,
            SctpState::ShutdownAckSent => self.sctp_shutdown_ack_sent,
            SctpState::HeartbeatSent => self.sctp_heartbeat_sent,
        })
    }

    pub(super) fn by_name(&mut self, name: &str) -> Option<&mut u32> {
        self.named().into_iter().find(|(known, _)| *known == name).map(|(_, timeout)| timeout)
    }

    /// All timeouts by the last component of their names.
    pub(super) const fn named(&mut self) -> [(&'static str, &mut u32); 22] {
        [
            ("nf_conntrack_tcp_timeout_syn_sent", &mut self.tcp_syn_sent),
            ("nf_conntrack_tcp_timeout_syn_recv", &mut self.tcp_syn_recv),
            ("nf_conntrack_tcp_timeout_established", &mut self.tcp_established),
            ("nf_conntrack_tcp_timeout_fin_wait", &mut self.tcp_fin_wait),
            ("nf_conntrack_tcp_timeout_close_wait", &mut self.tcp_close_wait),
            ("nf_conntrack_tcp_timeout_last_ack", &mut self.tcp_last_ack),
            ("nf_conntrack_tcp_timeout_time_wait", &mut self.tcp_time_wait),
            ("nf_conntrack_tcp_timeout_close", &mut self.tcp_close),
            ("nf_conntrack_tcp_timeout_max_retrans", &mut self.tcp_max_retrans),
            ("nf_conntrack_tcp_timeout_unacknowledged", &mut self.tcp_unacknowledged),
            ("nf_conntrack_udp_timeout", &mut self.udp),
            ("nf_conntrack_udp_timeout_stream", &mut self.udp_stream),
            ("nf_conntrack_icmp_timeout", &mut self.icmp),
            ("nf_conntrack_sctp_timeout_closed", &mut self.sctp_closed),
            ("nf_conntrack_sctp_timeout_cookie_wait", &mut self.sctp_cookie_wait),
            ("nf_conntrack_sctp_timeout_cookie_echoed", &mut self.sctp_cookie_echoed),
            ("nf_conntrack_sctp_timeout_established", &mut self.sctp_established),
            ("nf_conntrack_sctp_timeout_shutdown_sent", &mut self.sctp_shutdown_sent),
            ("nf_conntrack_sctp_timeout_shutdown_recd", &mut self.sctp_shutdown_recd),
            ("nf_conntrack_sctp_timeout_shutdown_ack_sent", &mut self.sctp_shutdown_ack_sent),
            ("nf_conntrack_sctp_timeout_heartbeat_sent", &mut self.sctp_heartbeat_sent),
            ("nf_conntrack_generic_timeout", &mut self.generic),
        ]
    }
}

/// Timeouts are stored in seconds, as in sysctls.
pub(crate) const fn seconds(count: u32) -> Duration {
    Duration::from_secs(count as u64)
}
