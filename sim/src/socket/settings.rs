//! Sysctls that sockets use.

use crate::release::{Change, Release};
use crate::sysctl::{CongestionControl, Setting, Sysctls, TcpRmem};
use crate::time::Duration;

/// Sysctls and related settings, with the defaults of Linux 6.12 on a machine with at least 1 GiB of memory
/// (Documentation/networking/ip-sysctl.rst).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketSettings {
    /// `ip_local_port_range`: first and last ephemeral port.
    pub ephemeral_ports: (u16, u16),
    /// `tcp_syn_retries`: number of SYN retransmissions with growing intervals.
    pub tcp_syn_retries: u8,
    /// `tcp_syn_linear_timeouts`: number of SYN retransmissions at constant intervals before that; see
    /// [`Change::LinearSynTimeouts`].
    pub tcp_syn_linear_timeouts: u8,
    /// The release of Linux.
    pub release: Release,
    /// `tcp_synack_retries`: number of SYN|ACK retransmissions.
    pub tcp_synack_retries: u8,
    /// `tcp_retrans_collapse`: retransmissions include data written later, if it fits.
    pub tcp_retrans_collapse: bool,
    /// `tcp_retries2`: an established connection is given up after the duration of so many retransmissions.
    pub tcp_retries2: u8,
    /// `tcp_fin_timeout`: how long a closed socket waits in FIN_WAIT2 for the peer's FIN.
    pub tcp_fin_timeout: Duration,
    /// `tcp_rmem`: receive buffer of a socket, in bytes.
    pub tcp_rmem: TcpRmem,
    /// `tcp_congestion_control`: the algorithm of new connections.
    pub congestion_control: CongestionControl,
    /// `net.core.rmem_max`: the largest receive buffer that an application may request, in bytes. 212,992 by default, and 4
    /// MiB since 6.17; of the machine, not of a netns.
    pub rmem_max: u32,
    /// `somaxconn`, the limit of a listener's queues.
    pub listen_backlog: u32,
    /// `tcp_tw_reuse`: 0 never, 1 always, 2 on the loopback device only: connect(2) may use a port in TIME_WAIT.
    pub tcp_tw_reuse: u8,
}

impl SocketSettings {
    /// The settings of a netns.
    pub fn new(sysctls: &Sysctls) -> Self {
        let count = |setting| u8::try_from(sysctls.value(setting)).unwrap_or(u8::MAX);
        Self {
            ephemeral_ports: sysctls.ip_local_port_range(),
            tcp_syn_retries: count(Setting::TcpSynRetries),
            tcp_syn_linear_timeouts: linear_timeouts(sysctls.release()),
            release: sysctls.release(),
            tcp_synack_retries: count(Setting::TcpSynackRetries),
            tcp_retrans_collapse: sysctls.value(Setting::TcpRetransCollapse) != 0,
            tcp_retries2: count(Setting::TcpRetries2),
            tcp_fin_timeout: sysctls.tcp_fin_timeout(),
            tcp_rmem: sysctls.tcp_rmem,
            congestion_control: sysctls.tcp_congestion_control,
            rmem_max: sysctls.rmem_max(),
            tcp_tw_reuse: count(Setting::TcpTwReuse),
            ..Self::default()
        }
    }
}

fn linear_timeouts(release: Release) -> u8 {
    if release.has(Change::LinearSynTimeouts) { 4 } else { 0 }
}

impl Default for SocketSettings {
    fn default() -> Self {
        Self {
            ephemeral_ports: (32768, 60999),
            tcp_syn_retries: 6,
            tcp_syn_linear_timeouts: linear_timeouts(Release::NEWEST),
            release: Release::NEWEST,
            tcp_synack_retries: 5,
            tcp_retrans_collapse: true,
            tcp_retries2: 15,
            tcp_fin_timeout: Duration::from_secs(60),
            tcp_rmem: TcpRmem::default(),
            congestion_control: CongestionControl::default(),
            rmem_max: 212_992,
            listen_backlog: 4096,
            tcp_tw_reuse: 2,
        }
    }
}
