//! Settings against the real kernel: values written, and values read everywhere afterwards.
//!
//! Needs root, `unshare`, `bash`, `ip` and `sysctl`; skips with a message if they are missing.

#[path = "support/netns.rs"]
mod netns;

use ipnet::Ipv4Net;
use proptest::prelude::*;
use sim::device::{DeviceKind, Devices, Scope};
use sim::sysctl::Sysctls;
use sim::wire::MacAddr;
use std::sync::LazyLock;

const PLACES: [&str; 4] = ["all", "default", "eth0", "eth1"];

const CONF: [&str; 15] = [
    "accept_local",
    "arp_accept",
    "arp_announce",
    "arp_filter",
    "arp_ignore",
    "bc_forwarding",
    "forwarding",
    "log_martians",
    "promote_secondaries",
    "proxy_arp",
    "route_localnet",
    "rp_filter",
    "send_redirects",
    "shared_media",
    "src_valid_mark",
];

const NEIGH: [&str; 9] = [
    "base_reachable_time_ms",
    "delay_first_probe_time",
    "locktime",
    "mcast_resolicit",
    "mcast_solicit",
    "proxy_delay",
    "retrans_time_ms",
    "ucast_solicit",
    "unres_qlen_bytes",
];

const SCALARS: [&str; 19] = [
    "icmp_echo_ignore_all",
    "icmp_echo_ignore_broadcasts",
    "icmp_errors_use_inbound_ifaddr",
    "icmp_msgs_burst",
    "icmp_msgs_per_sec",
    "icmp_ratelimit",
    "icmp_ratemask",
    "ip_default_ttl",
    "ip_forward",
    "ip_local_port_range",
    "ip_nonlocal_bind",
    "ipfrag_max_dist",
    "ipfrag_time",
    "route.min_pmtu",
    "route.mtu_expires",
    "tcp_fin_timeout",
    "tcp_retries2",
    "tcp_syn_retries",
    "tcp_tw_reuse",
];

/// A step of a case.
#[derive(Clone, Debug)]
enum Step {
    /// `sysctl -w`.
    Write(String, &'static str),
    /// `ip link add`, for a device that did not exist at first.
    AddDevice,
    /// `ip address add`.
    AddAddress(&'static str),
}

fn names() -> Vec<String> {
    let conf = PLACES.iter().flat_map(|place| CONF.map(|leaf| format!("net.ipv4.conf.{place}.{leaf}")));
    let neigh = NEIGH.iter().map(|leaf| format!("net.ipv4.neigh.eth0.{leaf}"));
    let scalars = SCALARS.iter().map(|leaf| format!("net.ipv4.{leaf}"));
    conf.chain(neigh).chain(scalars).collect()
}

fn step() -> impl Strategy<Value = Step> {
    // Times are kept in ticks, whose length depends on the kernel: 200 of any unit are whole ticks in all kernels.
    let values = |name: &str| {
        let is_time = ["ratelimit", "_ms", "locktime", "proxy_delay"].iter().any(|part| name.contains(part));
        let all = &["200", "0", "1", "2", "3", "17", "256", "70000", "x"];
        if is_time {
            &all[..1]
        } else if name.contains(".conf.") {
            // In the kernel even a rejected write pins a value; in the simulator an error changes nothing.
            &all[..8]
        } else {
            &all[..]
        }
    };
    let ports = &["2000 3000", "3000 2000", "0 10", "2000", "1 65535", "1 65536"];
    let conf = |(place, leaf, value)| Step::Write(format!("net.ipv4.conf.{place}.{leaf}"), value);
    prop_oneof![
        6 => prop::sample::select(names())
            .prop_filter("has values of its own", |name| !name.ends_with("port_range"))
            .prop_flat_map(move |name| {
                prop::sample::select(values(&name)).prop_map(move |value| Step::Write(name.clone(), value))
            }),
        1 => prop::sample::select(ports)
            .prop_map(|value| Step::Write("net.ipv4.ip_local_port_range".into(), value)),
        6 => (prop::sample::select(&PLACES), prop::sample::select(&CONF), prop::sample::select(&["0", "1", "2"]))
            .prop_map(conf),
        1 => Just(Step::AddDevice),
        1 => prop::sample::select(&["eth0", "eth1"]).prop_map(Step::AddAddress),
    ]
}

/// Whether there are namespaces here, and new ones begin with what the kernel compiles in, and not with what the first one
/// was told (`devinet_init_net`). Says so if not.
static IS_JUDGE: LazyLock<bool> = LazyLock::new(|| {
    if !netns::is_available() {
        return false;
    }
    let result = compare(&[]);
    if let Err(differing) = &result {
        eprintln!("skipped: namespaces of this host have other defaults:\n{differing}");
    }
    result.is_ok()
});

/// Compares the values that both sides read at the end, and the writes that they rejected.
fn compare(steps: &[Step]) -> Result<(), String> {
    let (kernel, ours) = (ask_kernel(steps), ask_simulator(steps));
    let what = steps.iter().map(|step| format!("{step:?}")).chain(names());
    let differing: Vec<_> = what
        .zip(kernel.iter().zip(&ours))
        .filter(|(_, (kernel, ours))| kernel != ours)
        .map(|(what, (kernel, ours))| format!("{what}: kernel {kernel:?}, ours {ours:?}"))
        .collect();
    if differing.is_empty() { Ok(()) } else { Err(differing.join("\n")) }
}

const REFUSED: &str = "refused";

fn ask_kernel(steps: &[Step]) -> Vec<String> {
    let mut script = vec!["ip link add eth0 type veth peer name peer0".to_owned()];
    let before = script.len();
    script.extend(steps.iter().map(|step| match step {
        Step::Write(name, value) => {
            format!("echo '{value}' 2> /dev/null > /proc/sys/{} || echo {REFUSED}", name.replace('.', "/"))
        }
        Step::AddDevice => "ip link add eth1 type veth peer name peer1 2> /dev/null || :".into(),
        Step::AddAddress(device) => format!("ip address add 10.0.0.1/24 dev {device} 2> /dev/null || :"),
    }));
    let path =
        |name: &String| format!("cat /proc/sys/{} 2> /dev/null || echo {REFUSED}", name.replace('.', "/"));
    script.extend(names().iter().map(path));
    let said = netns::run(&[script]).remove(0);
    // A rejected `echo` may print two errors.
    let last = |text: &String| text.lines().last().unwrap_or_default().to_owned();
    said[before..].iter().map(last).collect()
}

fn ask_simulator(steps: &[Step]) -> Vec<String> {
    let (mut devices, mut sysctls) = (Devices::default(), Sysctls::default());
    devices.add("lo", MacAddr::ZERO, u16::MAX, DeviceKind::Loopback);
    devices.add("eth0", MacAddr::ZERO, 1500, DeviceKind::Dummy);
    let net = Ipv4Net::new_assert([10, 0, 0, 1].into(), 24);
    let mut said = Vec::new();
    for step in steps {
        let is_refused = match step {
            Step::Write(name, value) => sysctls.set(&devices, name, value).is_err(),
            Step::AddDevice => {
                if devices.by_name("eth1").is_none() {
                    devices.add("eth1", MacAddr::ZERO, 1500, DeviceKind::Dummy);
                }
                false
            }
            Step::AddAddress(device) => {
                if let Some(id) = devices.by_name(device).map(|device| device.id) {
                    // The second time it is rejected, which changes nothing.
                    let _ = devices.get_mut(id).insert_addr(net, Scope::Universe);
                }
                false
            }
        };
        said.push(if is_refused { REFUSED.to_owned() } else { String::new() });
    }
    said.extend(names().iter().map(|name| sysctls.get(&devices, name).unwrap_or_else(|_| REFUSED.into())));
    said
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    /// Values, their ranges, and the settings that they affect.
    #[test]
    fn whatever_is_written_is_refused_or_read_as_in_the_kernel(steps in prop::collection::vec(step(), 0..40)) {
        if *IS_JUDGE {
            let result = compare(&steps);
            prop_assert!(result.is_ok(), "{}", result.unwrap_err());
        }
    }
}
