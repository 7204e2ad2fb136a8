//! What a random world in IPVS mode has besides: settings of kube-proxy, and sysctls of IPVS.

use proptest::option::weighted;
use proptest::prelude::{Just, Strategy, prop_oneof};
use proptest::sample::select;
use proptest::strategy::BoxedStrategy;
use serde_json::{Map, Value, json};

use super::world::{RandomIpvs, RandomSysctl};

/// Schedulers that choose by what was before. `twos` draws at random.
const SCHEDULERS: [&str; 13] =
    ["wrr", "lc", "wlc", "sh", "dh", "sed", "nq", "mh", "lblc", "lblcr", "fo", "ovf", "rr"];

const SYSCTLS: [RandomSysctl; 8] = [
    RandomSysctl { name: "net.ipv4.vs.conn_reuse_mode", value: "0" },
    RandomSysctl { name: "net.ipv4.vs.expire_nodest_conn", value: "0" },
    RandomSysctl { name: "net.ipv4.vs.expire_quiescent_template", value: "0" },
    RandomSysctl { name: "net.ipv4.vs.sloppy_tcp", value: "1" },
    RandomSysctl { name: "net.ipv4.vs.nat_icmp_send", value: "1" },
    RandomSysctl { name: "net.ipv4.vs.conntrack", value: "0" },
    RandomSysctl { name: "net.ipv4.vs.snat_reroute", value: "0" },
    RandomSysctl { name: "net.ipv4.vs.pmtu_disc", value: "0" },
];

pub(super) fn strategy() -> BoxedStrategy<RandomIpvs> {
    (
        weighted(0.6, select(&SCHEDULERS[..])),
        prop_oneof![2 => Just(false), 1 => Just(true)],
        weighted(0.2, select(&[["1m", "2s", "3s"], ["10m", "0s", "1m"]][..])),
        weighted(0.3, select(&SYSCTLS[..])),
    )
        .prop_map(|(scheduler, is_arp_strict, timeouts, sysctl)| RandomIpvs {
            scheduler,
            is_arp_strict,
            timeouts,
            sysctl,
        })
        .boxed()
}

impl RandomIpvs {
    /// The part `ipvs` of kube-proxy's configuration.
    pub(super) fn configuration(&self) -> Value {
        let [tcp, tcp_fin, udp] = self.timeouts.map_or([None; 3], |timeouts| timeouts.map(Some));
        json!({
            "scheduler": self.scheduler,
            "strictARP": self.is_arp_strict.then_some(true),
            "tcpTimeout": tcp,
            "tcpFinTimeout": tcp_fin,
            "udpTimeout": udp,
        })
    }

    /// The step that sets the sysctl on these nodes.
    pub(super) fn step(&self, nodes: impl Iterator<Item = String>) -> Option<Value> {
        let RandomSysctl { name, value } = self.sysctl?;
        let set = nodes.map(|node| (format!("node/{node}"), json!({"sysctl": {name: value}})));
        Some(json!({"set": Value::Object(set.collect::<Map<_, _>>())}))
    }
}
