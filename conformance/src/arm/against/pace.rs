//! The pace of both arms: timers that would make a kernel wait are short, and those that it draws at random are far away.

use crate::arm::kernel::KernelArm;
use crate::netns::NetnsName;
use crate::topology::{NetnsPlan, Topology, TopologyChange};

/// What every device with addresses is given, on both arms.
const NEIGH_SYSCTLS: [(&str, &str); 2] = [
    // Three questions without an answer take 0.18 s in place of 3 s. It is no multiple of the second after which TCP sends
    // a SYN again: by default the last SYN and the end of the questions fall into the same moment, and either may be first.
    // Timers of less than 64 ticks are exact to the tick, longer ones are not (kernel/time/timer.c).
    ("retrans_time_ms", "60"),
    // The kernel draws how long a neighbour counts as reachable, between half and one and a half of this
    // (`neigh_rand_reach_time`, net/core/neighbour.c). Two days are longer than any run.
    ("base_reachable_time_ms", "172800000"),
];

/// What every network namespace is given, on both arms.
const SYSCTLS: [(&str, &str); 2] = [
    // As long as a capture holds a frame, the kernel does not put its data together with other data to send both again
    // (`tcp_can_collapse`, net/ipv4/tcp_output.c). Whether it did would depend on when the captures were read.
    ("net.ipv4.tcp_retrans_collapse", "0"),
    // A host may send one ICMP error to a peer in this time, after the first six (`inet_peer_xrlim_allow`,
    // net/ipv4/inetpeer.c). The default is the second after which TCP sends a SYN again: by then, whether a host may tell
    // of it would be a matter of microseconds.
    // Not less than 834, so that a peer's tokens are capped by the same number wherever they are counted (`ip_error`,
    // net/ipv4/route.c): kernels differ in when they cap.
    ("net.ipv4.icmp_ratelimit", "900"),
];

/// The largest receive buffer of Linux 6.12, in bytes.
const RECEIVE_BUFFER_MAX: u32 = 6 << 20;

/// `net.ipv4.tcp_rmem`, from whose last number the window scale follows. The default depends on the version of the kernel and the
/// memory of the machine (`tcp_init`, net/ipv4/tcp.c). An application may ask for a buffer of `net.core.rmem_max` bytes,
/// which the scale allows for as well (`tcp_select_initial_window`, net/ipv4/tcp_output.c) and no namespace has for itself:
/// where that is more, both sides get as much.
fn receive_buffers() -> (String, String) {
    let max = KernelArm::rmem_max().unwrap_or(0).max(RECEIVE_BUFFER_MAX);
    ("net.ipv4.tcp_rmem".to_owned(), format!("4096 131072 {max}"))
}

/// The topology with those settings; what a scenario sets itself comes after them.
pub(super) fn hastened(topology: &Topology) -> Topology {
    let mut topology = topology.clone();
    let receive_buffers = receive_buffers();
    for plan in topology.netns.values_mut() {
        let own = std::mem::take(&mut plan.sysctls);
        let common = SYSCTLS.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let of_devices = devices(plan);
        let neigh = of_devices.iter().flat_map(|device| neigh_sysctls(device));
        plan.sysctls = common.chain([receive_buffers.clone()]).chain(neigh).chain(own).collect();
    }
    topology
}

/// The settings of one device.
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
