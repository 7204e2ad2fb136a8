//! The built-in scenarios, and running many scenarios in parallel.
//!
//! | module | what it is |
//! |---|---|
//! | [`run`] | the runs of a suite and their verdicts |
//! | [`filter`], [`shard`] | selection of runs |
//! | [`known`] | known differences from the kernel |

pub mod filter;
pub mod known;
pub mod run;
pub mod shard;

use std::collections::BTreeMap;

use crate::diagnostic::Source;
use crate::manifest::{self, Manifests};
use crate::scenario::nearest;

/// A scenario of the folder `scenarios/`, embedded at build time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BuiltIn {
    /// Its path in the folder, without `.yaml`; the last component is the name in its document.
    pub name: &'static str,
    /// The text.
    pub text: &'static str,
}

macro_rules! built_in {
    ($($name:literal),* $(,)?) => {
        [$(BuiltIn { name: $name, text: include_str!(concat!("../../scenarios/", $name, ".yaml")) }),*]
    };
}

/// All built-in scenarios, in reading order: each builds on earlier ones. A test compares the list with the folder.
pub const SCENARIOS: [BuiltIn; 130] = built_in![
    "clusterip",
    "clusterip-three-endpoints",
    "clusterip-no-endpoints",
    "clusterip-from-node",
    "nodeport-cluster",
    "nodeport-local",
    "nodeport-local-no-endpoints",
    "nodeport-on-localhost",
    "external-ip",
    "loadbalancer-vip",
    "lossy-link",
    "internal-local",
    "hairpin-veth",
    "hairpin-off",
    "bridge-nf-off",
    "forwarding-off",
    "forwarding-off-one-device",
    "host-network-endpoint",
    "host-port",
    "pod-egress",
    "node-without-pods",
    "asymmetric-route",
    "icmp-redirect",
    "node-addresses",
    "own-ipsets",
    "script-from-node",
    "own-rules",
    "own-rules-of-plugins",
    "tcp-mss-lowered",
    "tcp-mss-odd-offset",
    "path-mtu-black-hole",
    "path-mtu-discovery",
    "payload-sizes",
    "reject-with-reset",
    "policy-routing-mark",
    "policy-routing-masquerade",
    "link-down-masquerade",
    "link-down-pod",
    "node-joins",
    "node-leaves",
    "session-affinity",
    "session-affinity-renewed",
    "session-affinity-per-service",
    "udp-removed-endpoint",
    "kept-udp-endpoint-removed",
    "kept-session-affinity",
    "conntrack-timeouts",
    "conntrack-default-timeouts",
    "dns",
    "conntrack-half-open",
    "conntrack-invalid",
    "conntrack-out-of-window",
    "connection-outlives-service",
    "kept-rolling-update",
    "kept-link-cut",
    "conntrack-port-reuse",
    "conntrack-syn-retry",
    "nat-syn-retry",
    "nat-source-port-clash",
    "kept-masquerade-same-port",
    "masquerade-low-port",
    "martian-source",
    "route-localnet-off",
    "ttl-expires",
    "ip-default-ttl",
    "broadcast-forwarding",
    "icmp-error-source",
    "icmp-error-of-a-script",
    "icmp-frag-needed-through-nat",
    "pod-mtu-smaller-than-node",
    "udp-fragments-reassembled-before-dnat",
    "fragments-missing",
    "icmp-echo-ignore-all",
    "icmp-errors-limited",
    "icmp-burst-drawn",
    "neighbour-queue",
    "neighbour-queue-dropped",
    "arp-ignore",
    "arp-announce",
    "pod-deleted-open-connection",
    "port-closed-open-connection",
    "listener-receive-buffer",
    "tcp-handshake-rst",
    "syn-ack-ttl-expires",
    "tcp-data-past-fin",
    "tcp-urgent-byte",
    "tcp-connectivity-disruption",
    "tcp-min-snd-mss",
    "tcp-ecn",
    "multicast-ttl",
    "multicast-all-hosts",
    "udp-to-unspecified",
    "echo-replies-limited",
    "tcp-fin-after-timeout",
    "tcp-server-fin-after-timeout",
    "ipvs-vip-is-local",
    "ipvs-scheduler-rr",
    "ipvs-scheduler-wrr",
    "ipvs-scheduler-lc",
    "ipvs-scheduler-wlc",
    "ipvs-scheduler-sed",
    "ipvs-scheduler-nq",
    "ipvs-scheduler-sh",
    "ipvs-scheduler-dh",
    "ipvs-scheduler-mh",
    "ipvs-scheduler-lblc",
    "ipvs-scheduler-lblcr",
    "ipvs-scheduler-fo",
    "ipvs-scheduler-ovf",
    "ipvs-affinity",
    "ipvs-graceful-termination",
    "ipvs-port-reuse",
    "ipvs-removed-server",
    "ipvs-idle-connection",
    "ipvs-arp",
    "ipvs-strict-arp",
    "ipvs-health-check-from-vip",
    "ipvs-forward-drop",
    "ipvs-node-port-of-another-host",
    "ipvs-dead-server-kept",
    "ipvs-health-check-node-port",
    "ipvs-host-port",
    "ipvs-host-port-in-front",
    "ipvs-host-port-exposed",
    "ipvs-load-balancer-local",
    "ipvs-masquerade-to-node-port",
    "ipvs-node-without-masquerade",
    "ipvs-port-clash",
    "ipvs-port-reuse-dead-pod",
    "ipvs-port-reuse-stall",
];

impl BuiltIn {
    /// Its file, for messages.
    pub fn file(&self) -> String {
        format!("scenarios/{}.yaml", self.name)
    }

    /// Loads it.
    pub fn load(&self) -> Manifests {
        manifest::load(vec![Source { name: self.file(), text: self.text.to_owned() }])
    }
}

/// The built-in scenario with that name: `nodeport-local`, `nodeport-local.yaml`, `scenarios/nodeport-local.yaml`.
pub fn find(name: &str) -> Option<&'static BuiltIn> {
    let name = plain(name);
    SCENARIOS.iter().find(|scenario| scenario.name == name)
}

/// All requirements that built-in scenarios cover, with the names of these scenarios.
pub fn coverage() -> BTreeMap<String, Vec<&'static str>> {
    let mut coverage: BTreeMap<String, Vec<&'static str>> = BTreeMap::new();
    for built_in in &SCENARIOS {
        for loaded in built_in.load().scenarios {
            for requirement in loaded.scenario.requirements {
                coverage.entry(requirement).or_default().push(built_in.name);
            }
        }
    }
    coverage
}

/// The name that was probably intended.
pub fn suggestion(name: &str) -> Option<&'static str> {
    nearest(plain(name), &SCENARIOS.map(|scenario| scenario.name))
}

fn plain(name: &str) -> &str {
    let name = name.strip_prefix("scenarios/").unwrap_or(name);
    name.strip_suffix(".yaml").or_else(|| name.strip_suffix(".yml")).unwrap_or(name)
}

#[cfg(test)]
mod tests;
