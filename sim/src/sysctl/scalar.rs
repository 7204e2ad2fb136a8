//! Sysctls that are not per device.

use crate::text::ports::PortRange;
use crate::text::value::decimal;
use std::ops::RangeInclusive;

/// A sysctl that is not per device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the table below describes each")]
pub enum Setting {
    BridgeNfCallArptables,
    BridgeNfCallIp6tables,
    BridgeNfCallIptables,
    BridgeNfFilterPppoeTagged,
    BridgeNfFilterVlanTagged,
    BridgeNfPassVlanInputDev,
    IcmpEchoIgnoreAll,
    IcmpEchoIgnoreBroadcasts,
    IcmpErrorsUseInboundIfaddr,
    IcmpMsgsBurst,
    IcmpMsgsPerSec,
    IcmpRatelimit,
    IcmpRatemask,
    IpDefaultTtl,
    IpForward,
    IpLocalPortRange,
    IpNonlocalBind,
    IpfragMaxDist,
    IpfragTime,
    NeighGcThresh1,
    NeighGcThresh2,
    NeighGcThresh3,
    RouteMinPmtu,
    RouteMtuExpires,
    TcpFinTimeout,
    TcpRetransCollapse,
    TcpRetries2,
    TcpSynRetries,
    TcpSynackRetries,
    TcpTwReuse,
}

struct Row {
    setting: Setting,
    name: &'static str,
    default: u32,
    range: RangeInclusive<u32>,
}

const fn row(setting: Setting, name: &'static str, default: u32, range: RangeInclusive<u32>) -> Row {
    Row { setting, name, default, range }
}

const SWITCH: RangeInclusive<u32> = 0..=1;
const U8: RangeInclusive<u32> = 0..=255;
const INT: RangeInclusive<u32> = 0..=0x7fff_ffff;

// Linux: inet_init_net, net/ipv4/af_inet.c; icmp_sk_init, net/ipv4/icmp.c; tcp_sk_init, net/ipv4/tcp_ipv4.c;
// ipv4_net_table, net/ipv4/sysctl_net_ipv4.c; br_netfilter_sysctl_init_net, net/bridge/br_netfilter_hooks.c.
// Rows are in the order of the enum, so that a setting is its own index.
const ROWS: [Row; 30] = {
    use Setting as S;
    [
        // br_netfilter: once loaded, the module enables its hooks.
        row(S::BridgeNfCallArptables, "net.bridge.bridge-nf-call-arptables", 1, INT),
        row(S::BridgeNfCallIp6tables, "net.bridge.bridge-nf-call-ip6tables", 1, INT),
        row(S::BridgeNfCallIptables, "net.bridge.bridge-nf-call-iptables", 1, INT),
        row(S::BridgeNfFilterPppoeTagged, "net.bridge.bridge-nf-filter-pppoe-tagged", 0, INT),
        row(S::BridgeNfFilterVlanTagged, "net.bridge.bridge-nf-filter-vlan-tagged", 0, INT),
        row(S::BridgeNfPassVlanInputDev, "net.bridge.bridge-nf-pass-vlan-input-dev", 0, INT),
        row(S::IcmpEchoIgnoreAll, "net.ipv4.icmp_echo_ignore_all", 0, SWITCH),
        row(S::IcmpEchoIgnoreBroadcasts, "net.ipv4.icmp_echo_ignore_broadcasts", 1, SWITCH),
        row(S::IcmpErrorsUseInboundIfaddr, "net.ipv4.icmp_errors_use_inbound_ifaddr", 0, SWITCH),
        row(S::IcmpMsgsBurst, "net.ipv4.icmp_msgs_burst", 50, INT),
        row(S::IcmpMsgsPerSec, "net.ipv4.icmp_msgs_per_sec", 1_000, INT),
        // Milliseconds per message and peer.
        row(S::IcmpRatelimit, "net.ipv4.icmp_ratelimit", 1_000, INT),
        // 0x1818: destination unreachable, source quench, time exceeded, parameter problem.
        row(S::IcmpRatemask, "net.ipv4.icmp_ratemask", 0x1818, INT),
        row(S::IpDefaultTtl, "net.ipv4.ip_default_ttl", 64, 1..=255),
        // An alias of conf.all.forwarding, without storage of its own.
        row(S::IpForward, "net.ipv4.ip_forward", 0, INT),
        // Two numbers; the first is in the upper half.
        row(S::IpLocalPortRange, "net.ipv4.ip_local_port_range", 32_768 << 16 | 60_999, 0..=u32::MAX),
        row(S::IpNonlocalBind, "net.ipv4.ip_nonlocal_bind", 0, U8),
        // Number of a sender's fragments that may arrive between two of a datagram; 0 for unlimited
        // (ip4_frags_ctl_table, net/ipv4/ip_fragment.c).
        row(S::IpfragMaxDist, "net.ipv4.ipfrag_max_dist", 64, INT),
        // Seconds.
        row(S::IpfragTime, "net.ipv4.ipfrag_time", 30, INT),
        // The three thresholds exist in the initial namespace only, and count the neighbours of all namespaces.
        row(S::NeighGcThresh1, "net.ipv4.neigh.default.gc_thresh1", 128, INT),
        row(S::NeighGcThresh2, "net.ipv4.neigh.default.gc_thresh2", 512, INT),
        row(S::NeighGcThresh3, "net.ipv4.neigh.default.gc_thresh3", 1_024, INT),
        // Bytes (ipv4_route_netns_table, net/ipv4/route.c).
        row(S::RouteMinPmtu, "net.ipv4.route.min_pmtu", 552, 68..=0x7fff_ffff),
        // Seconds.
        row(S::RouteMtuExpires, "net.ipv4.route.mtu_expires", 600, INT),
        // Seconds.
        row(S::TcpFinTimeout, "net.ipv4.tcp_fin_timeout", 60, INT),
        row(S::TcpRetransCollapse, "net.ipv4.tcp_retrans_collapse", 1, U8),
        row(S::TcpRetries2, "net.ipv4.tcp_retries2", 15, U8),
        row(S::TcpSynRetries, "net.ipv4.tcp_syn_retries", 6, 1..=127),
        row(S::TcpSynackRetries, "net.ipv4.tcp_synack_retries", 5, U8),
        // 2: for the loopback device only.
        row(S::TcpTwReuse, "net.ipv4.tcp_tw_reuse", 2, 0..=2),
    ]
};

impl Setting {
    /// The whole name, such as `net.ipv4.ip_forward`.
    pub const fn name(self) -> &'static str {
        ROWS[self as usize].name
    }

    pub(super) fn by_name(name: &str) -> Option<Self> {
        ROWS.iter().find(|row| row.name == name).map(|row| row.setting)
    }

    pub(super) fn names() -> impl Iterator<Item = &'static str> {
        ROWS.iter().map(|row| row.name)
    }
}

/// One value per sysctl.
#[derive(Clone, Debug)]
pub(super) struct ScalarValues([u32; ROWS.len()]);

impl Default for ScalarValues {
    fn default() -> Self {
        let mut values = [0; ROWS.len()];
        for row in &ROWS {
            values[row.setting as usize] = row.default;
        }
        Self(values)
    }
}

impl ScalarValues {
    pub(super) fn get(&self, setting: Setting) -> u32 {
        self.0[setting as usize]
    }

    pub(super) fn set(&mut self, setting: Setting, value: &str) -> Result<(), String> {
        let range = &ROWS[setting as usize].range;
        self.0[setting as usize] = if setting == Setting::IpLocalPortRange {
            parse_ports(value, self.local_port_range())?
        } else {
            decimal(value, range.clone())?
        };
        Ok(())
    }

    pub(super) fn text(&self, setting: Setting) -> String {
        if setting == Setting::IpLocalPortRange {
            let PortRange { first, last } = self.local_port_range();
            return format!("{first}\t{last}");
        }
        self.get(setting).to_string()
    }

    pub(super) fn local_port_range(&self) -> PortRange {
        let [a, b, c, d] = self.get(Setting::IpLocalPortRange).to_be_bytes();
        PortRange { first: u16::from_be_bytes([a, b]), last: u16::from_be_bytes([c, d]) }
    }
}

// Linux: ipv4_local_port_range, net/ipv4/sysctl_net_ipv4.c. One number changes the first port only. Ports below
// `ip_unprivileged_port_start`, here 1024, are not allocated.
fn parse_ports(value: &str, before: PortRange) -> Result<u32, String> {
    let expected = || "two ports, the first from 1024 and not above the second".to_owned();
    let ports: Vec<u16> =
        value.split_whitespace().map(str::parse).collect::<Result<_, _>>().map_err(|_| expected())?;
    let (first, last) = match ports[..] {
        [first] => (first, before.last),
        [first, last] => (first, last),
        _ => return Err(expected()),
    };
    if first < 1024 || first > last {
        return Err(expected());
    }
    Ok(u32::from(first) << 16 | u32::from(last))
}

#[cfg(test)]
pub(super) fn assert_order() {
    for (index, row) in ROWS.iter().enumerate() {
        assert_eq!(row.setting as usize, index, "{}", row.name);
    }
}
