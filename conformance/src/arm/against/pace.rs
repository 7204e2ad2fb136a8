//! Timers of both arms: timeouts for which a run would have to wait are shortened, and random ones are made very long.

use crate::netns::NetnsName;
use crate::topology::{NetnsPlan, Topology, TopologyChange};

/// Sysctls of every device with addresses, on both arms.
const NEIGH_SYSCTLS: [(&str, &str); 2] = [
    // Three unanswered requests take 0.18 s instead of 3 s. That is not a multiple of the second after which TCP
    // retransmits a SYN: with the default, the last SYN and the resolution failure coincide, in either order. Timers of
    // less than 64 ticks are exact to the tick, longer ones are not (kernel/time/timer.c).
    ("retrans_time_ms", "60"),
    // The kernel draws a neighbour's reachable time between 0.5 and 1.5 times this value (`neigh_rand_reach_time`,
    // net/core/neighbour.c). Two days are longer than any run.
    ("base_reachable_time_ms", "172800000"),
];

/// Sysctls of every network namespace, on both arms.
const SYSCTLS: [(&str, &str); 3] = [
    // While a capture holds a frame, the kernel does not coalesce its data with other data for retransmission
    // (`tcp_can_collapse`, net/ipv4/tcp_output.c). The result would depend on when captures are read.
    ("net.ipv4.tcp_retrans_collapse", "0"),
    // The interval of ICMP errors to one peer, after the first six (`inet_peer_xrlim_allow`, net/ipv4/inetpeer.c). The
    // default is the second after which TCP retransmits a SYN: microseconds would decide whether the error is sent.
    // At least 834, so that a peer's tokens are capped at the same number wherever they are counted (`ip_error`,
    // net/ipv4/route.c): kernel versions differ in where they cap.
    ("net.ipv4.icmp_ratelimit", "900"),
    // The default of Linux 6.12. It depends on the kernel version and on the memory of the machine (`tcp_init`,
    // net/ipv4/tcp.c), and the last number determines the window scale.
    ("net.ipv4.tcp_rmem", "4096 131072 6291456"),
];

/// The topology with these settings; sysctls of the scenario are applied after them.
pub(super) fn hastened(topology: &Topology) -> Topology {
    let mut topology = topology.clone();
    for plan in topology.netns.values_mut() {
        let own = std::mem::take(&mut plan.sysctls);
        let common = SYSCTLS.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let of_devices = devices(plan);
        let neigh = of_devices.iter().flat_map(|device| neigh_sysctls(device));
        plan.sysctls = common.chain(neigh).chain(own).collect();
    }
    topology
}

/// The sysctls of one device.
pub(super) fn neigh_sysctls(device: &str) -> impl Iterator<Item = (String, String)> {
    let name = move |leaf: &str| format!("net.ipv4.neigh.{device}.{leaf}");
    NEIGH_SYSCTLS.iter().map(move |(leaf, value)| (name(leaf), (*value).to_owned()))
}

/// Devices that a change gives their first address, by network namespace: those of routed ports.
pub(super) fn new_devices(changes: &[TopologyChange]) -> Vec<(NetnsName, String)> {
    let device = |change: &TopologyChange| match change {
        TopologyChange::AddAddress(netns, address) => Some((netns.clone(), address.device.clone())),
        TopologyChange::RemovePod(_)
        | TopologyChange::AddPod(_)
        | TopologyChange::AddRoute(..)
        | TopologyChange::Close(..)
        | TopologyChange::Open(..) => None,
    };
    changes.iter().filter_map(device).collect()
}

/// Devices with addresses, each once.
fn devices(plan: &NetnsPlan) -> Vec<String> {
    let mut devices: Vec<String> = Vec::new();
    for address in &plan.addresses {
        if !devices.contains(&address.device) {
            devices.push(address.device.clone());
        }
    }
    devices
}
