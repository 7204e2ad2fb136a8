//! Settings: `net.ipv4.vs.*`, and the timeouts of `ipvsadm --set`.

use crate::time::Duration;

/// The sysctls `net.ipv4.vs.*` on which decisions depend, with their defaults (`ip_vs_control_net_init_sysctl`,
/// net/netfilter/ipvs/ip_vs_ctl.c).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `am_droprate`: with `drop_packet` 3, one of this number of new connections is dropped.
    pub am_droprate: u32,
    /// `conn_reuse_mode`: what a SYN does that finds a closed connection.
    pub conn_reuse_mode: u32,
    /// `conntrack`: connections keep their conntrack entry.
    pub conntrack: bool,
    /// `drop_entry`, 0 to 3: 3 removes connections that were never established. 1 and 2 act only if memory is scarce,
    /// which it never is here.
    pub drop_entry: u32,
    /// `drop_packet`, 0 to 3: 3 drops new connections. 1 and 2 act only if memory is scarce.
    pub drop_packet: u32,
    /// `expire_nodest_conn`: connections of deleted servers end at once.
    pub expire_nodest_conn: bool,
    /// `expire_quiescent_template`: templates do not apply while their server has weight 0.
    pub expire_quiescent_template: bool,
    /// `lblc_expiration`.
    pub lblc_expiration: Duration,
    /// `lblcr_expiration`.
    pub lblcr_expiration: Duration,
    /// `nat_icmp_send`: packets of a real server without connection are answered with an ICMP error.
    pub nat_icmp_send: bool,
    /// `ignore_tunneled`: packets of other protocols are not scheduled when they come out of a tunnel.
    pub ignore_tunneled: bool,
    /// `pmtu_disc`: packets with DF are not fragmented to be tunnelled.
    pub pmtu_disc: bool,
    /// `schedule_icmp`: an ICMP error about an unknown connection opens one.
    pub schedule_icmp: bool,
    /// `secure_tcp`, 0 to 3: 3 selects the stricter table of TCP states. 1 and 2 act only if memory is scarce.
    pub secure_tcp: u32,
    /// `sloppy_sctp`: any packet may open an SCTP connection.
    pub sloppy_sctp: bool,
    /// `sloppy_tcp`: any segment but a RST may open a TCP connection.
    pub sloppy_tcp: bool,
    /// `snat_reroute`: translated replies are routed anew, by the virtual address.
    pub snat_reroute: bool,
    /// Sysctls without effect here.
    pub(super) inert: Inert,
}

/// Sysctls without effect here: memory is never scarce, rates are not estimated, and there is no backup to which connections
/// would be copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Inert {
    pub(super) amemthresh: u32,
    pub(super) backup_only: u32,
    pub(super) est_nice: u32,
    pub(super) run_estimation: u32,
    pub(super) sync_persist_mode: u32,
    pub(super) sync_ports: u32,
    pub(super) sync_qlen_max: u32,
    pub(super) sync_refresh_period: u32,
    pub(super) sync_retries: u32,
    pub(super) sync_sock_size: u32,
    pub(super) sync_version: u32,
}

impl Default for Inert {
    fn default() -> Self {
        Self {
            amemthresh: 1_024,
            backup_only: 0,
            est_nice: 0,
            run_estimation: 1,
            sync_persist_mode: 0,
            sync_ports: 1,
            // The kernel derives it from the size of memory: this is the value with 1 GiB.
            sync_qlen_max: 7_215,
            sync_refresh_period: 0,
            sync_retries: 0,
            sync_sock_size: 0,
            sync_version: 1,
        }
    }
}

/// The value of `drop_entry`, `drop_packet` and `secure_tcp` that acts independently of memory.
pub(super) const ALWAYS: u32 = 3;
/// Linux: `DEFAULT_EXPIRATION`, net/netfilter/ipvs/ip_vs_lblc.c.
const CACHE_EXPIRATION: Duration = Duration::from_secs(24 * 60 * 60);

impl Default for Settings {
    fn default() -> Self {
        Self {
            am_droprate: 10,
            conn_reuse_mode: 1,
            conntrack: false,
            drop_entry: 0,
            drop_packet: 0,
            expire_nodest_conn: false,
            expire_quiescent_template: false,
            lblc_expiration: CACHE_EXPIRATION,
            lblcr_expiration: CACHE_EXPIRATION,
            nat_icmp_send: false,
            ignore_tunneled: false,
            pmtu_disc: true,
            schedule_icmp: false,
            secure_tcp: 0,
            sloppy_sctp: false,
            sloppy_tcp: false,
            snat_reroute: true,
            inert: Inert::default(),
        }
    }
}

/// The timeouts that `ipvsadm --set TCP TCPFIN UDP` changes (`ip_vs_set_timeout`, net/netfilter/ipvs/ip_vs_ctl.c). Those
/// of other states are fixed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// TCP, ESTABLISHED.
    pub tcp: Duration,
    /// TCP, FIN_WAIT.
    pub tcp_fin: Duration,
    /// UDP.
    pub udp: Duration,
}

impl Default for Timeouts {
    /// Linux: `tcp_timeouts`, net/netfilter/ipvs/ip_vs_proto_tcp.c; `udp_timeouts`, ip_vs_proto_udp.c.
    fn default() -> Self {
        Self {
            tcp: Duration::from_secs(15 * 60),
            tcp_fin: Duration::from_secs(2 * 60),
            udp: Duration::from_secs(5 * 60),
        }
    }
}
