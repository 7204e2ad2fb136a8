//! Settings in which a lab on a kernel differs from a real node. They apply to the simulator beside it as well; every
//! report of such a run prints them, and `docs/src/kernel.md` lists them.
//!
//! Whatever else a new namespace takes from the machine, such as `net.ipv4.conf.default`, is reset to the kernel's
//! default ([`sim::sysctl::Sysctls::inherited`]).

/// A setting that differs from a real node, or is not one of the kernel's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LabSetting {
    /// Where it applies.
    pub place: Place,
    /// The sysctl, or what it is otherwise. `DEVICE` stands for the name of each device.
    pub name: &'static str,
    /// The value.
    pub value: &'static str,
    /// Why it differs.
    pub reason: &'static str,
}

/// Where a setting applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A sysctl of every network namespace.
    Netns,
    /// A neighbour sysctl of every device that has an address.
    Device,
    /// A sysctl of the kernel's namespaces, without counterpart in the simulator.
    KernelOnly,
    /// Not a sysctl.
    Other,
}

/// The first port that clients use, and the number of ports; the range is ephemeral, as a kernel would choose.
pub const CLIENT_PORTS: (u16, u16) = (40_000, 20_000);

const fn row(place: Place, name: &'static str, value: &'static str, reason: &'static str) -> LabSetting {
    LabSetting { place, name, value, reason }
}

/// What clients and servers of a lab ask for as their send buffers, in bytes.
pub(crate) const SEND_BUFFER: usize = 212_992;

/// All settings.
pub const LAB_SETTINGS: [LabSetting; 16] = [
    // Timers of less than 64 ticks are exact to the tick, longer ones are not (kernel/time/timer.c). With the default, the
    // last SYN and the failure of the resolution coincide.
    row(
        Place::Device,
        "net.ipv4.neigh.DEVICE.retrans_time_ms",
        "60",
        "three ARP requests take 0.18 s, which is not a multiple of TCP's retransmissions",
    ),
    // The kernel draws a neighbour's reachable time between 0.5 and 1.5 times this value (`neigh_rand_reach_time`,
    // net/core/neighbour.c).
    row(
        Place::Device,
        "net.ipv4.neigh.DEVICE.base_reachable_time_ms",
        "172800000",
        "entries stay reachable, because the kernel draws the time until they do not",
    ),
    // While a capture holds a frame, its data is not coalesced (`tcp_can_collapse`, net/ipv4/tcp_output.c).
    row(
        Place::Netns,
        "net.ipv4.tcp_retrans_collapse",
        "0",
        "captures would sometimes prevent TCP from coalescing retransmissions",
    ),
    // `inet_peer_xrlim_allow`, net/ipv4/inetpeer.c. At least 834, so that a peer's tokens are capped at the same number
    // wherever they are counted (`ip_error`, net/ipv4/route.c): kernel versions differ in where they cap.
    row(
        Place::Netns,
        "net.ipv4.icmp_ratelimit",
        "900",
        "an ICMP error of a second later would coincide with TCP's second SYN",
    ),
    // The default of Linux 6.12 (`tcp_init`, net/ipv4/tcp.c).
    row(
        Place::Netns,
        "net.ipv4.tcp_rmem",
        "4096 131072 6291456",
        "the window scale depends on the last number, whose default depends on memory and kernel version",
    ),
    // `tcp_set_default_congestion_control`, net/ipv4/tcp_cong.c.
    row(
        Place::Netns,
        "net.ipv4.tcp_congestion_control",
        "reno",
        "the default of the machine may be any, and Reno is the only one that a namespace may always select",
    ),
    // `lo` sends neither solicitations nor duplicate address detection, and is left alone.
    row(
        Place::KernelOnly,
        "net.ipv6.conf.default.disable_ipv6",
        "1",
        "the simulator has no IPv6 stack, and IPv6 devices send frames of their own",
    ),
    row(
        Place::Other,
        "mcast_snooping of bridges",
        "0",
        "a bridge that snoops sends IGMP and MLD reports of its own",
    ),
    // `sk_setup_caps`, net/core/sock.c: TCP builds no segment that the device would have to divide.
    row(
        Place::Other,
        "gso_max_segs of devices",
        "1",
        "a capture shows segments as TCP passes them to a device, not as the device divides them",
    ),
    // tcp(7): the kernel doubles what a program asks for, which is the default of `net.core.wmem_max`.
    row(
        Place::Other,
        "send buffer of programs",
        "425984",
        "a program writes a request or an answer at once, so only its last segment is pushed",
    ),
    row(
        Place::Other,
        "source ports of clients",
        "40000 to 59999, in order",
        "both sides use the same ports, and a port is not used again before its connection has ended",
    ),
    row(
        Place::Other,
        "latency of links",
        "none",
        "a veth pair has none, so TCP ignores an ICMP redirect about what a system call sends",
    ),
    // `tcp_select_initial_window`, net/ipv4/tcp_output.c.
    row(
        Place::Other,
        "net.core.rmem_max",
        "of the machine",
        "it is not per namespace, and the window scale allows for receive buffers of this size",
    ),
    row(
        Place::Other,
        "net.netfilter.nf_conntrack_max, nf_conntrack_buckets, nf_conntrack_expect_max",
        "of the machine",
        "they are not per namespace, so kube-proxy's values are not written",
    ),
    row(
        Place::Other,
        "iptables -t raw -A PREROUTING -j DROP on the sender of a script",
        "while its connection lasts",
        "the sender's own stack would answer replies to packets that it did not send",
    ),
    row(
        Place::Other,
        "a UDP socket on the port of a node's script",
        "while its connection lasts",
        "as above; a script on a node gets only what no rule drops",
    ),
];

/// The sysctls of one place, as name and value.
pub fn sysctls(place: Place) -> impl Iterator<Item = (&'static str, &'static str)> {
    LAB_SETTINGS
        .iter()
        .filter(move |setting| setting.place == place)
        .map(|setting| (setting.name, setting.value))
}
