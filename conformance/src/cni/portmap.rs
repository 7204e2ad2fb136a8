//! The plug-in portmap: host ports of Pods.
//!
//! The rules follow `forwardPorts` and `fillDnatRules`, plugins/meta/portmap/portmap_iptables.go of containernetworking/plugins,
//! with the defaults of the plug-in (`snat` true, mark bit 13). Deviation: conntrack entries of UDP are not deleted when a Pod
//! starts (`deletePortmapStaleConnections`).

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use proxy_core::load::{Ensure, Load, Table};
use proxy_core::objects::{IpFamily, Protocol};

use super::{chain_name, pod_network, quoted, restore, sandbox_id};
use crate::cluster::{Cluster, ClusterNode, ClusterPod, HostPort};
use crate::scenario::{Cni, ObjectName};
use crate::topology;

/// `CNI-HOSTPORT-DNAT`: every packet to an address of the node.
const DNAT: &str = "CNI-HOSTPORT-DNAT";
/// `CNI-HOSTPORT-SETMARK`: marks packets to masquerade.
const SETMARK: &str = "CNI-HOSTPORT-SETMARK";
/// `CNI-HOSTPORT-MASQ`: masquerades marked packets.
const MASQ: &str = "CNI-HOSTPORT-MASQ";
/// Bit 13 (`DefaultMarkBit`, plugins/meta/portmap/main.go).
const MARK: &str = "0x2000/0x2000";
/// The most ports in one rule (`splitPortList`, plugins/meta/portmap/utils.go).
const MULTIPORT_MAX: usize = 15;

/// portmap on a node.
#[derive(Debug, Clone, Default)]
pub(super) struct NodePortmap {
    /// True once there was a Pod with a host port. The plug-in leaves the common chains in place.
    is_set_up: bool,
    pods: BTreeMap<ObjectName, PodChain>,
}

/// The rules of a Pod.
#[derive(Debug, Clone, PartialEq, Eq)]
struct PodChain {
    name: String,
    /// Rules of the chain, without its name.
    rules: Vec<String>,
    /// Rules of `CNI-HOSTPORT-DNAT`, without its name.
    entries: Vec<String>,
    /// The device behind which the Pod is.
    device: String,
}

impl NodePortmap {
    /// Deletes the rules of Pods that are gone or changed, and adds those of new ones.
    pub(super) fn update(&mut self, cluster: &Cluster, node: &ClusterNode) -> Vec<Load> {
        let wanted: BTreeMap<ObjectName, PodChain> = cluster
            .pods()
            .iter()
            .filter(|pod| pod.node == node.name && !pod.is_host_network && !pod.host_ports.is_empty())
            .map(|pod| (pod.name.clone(), PodChain::of(cluster, node, pod)))
            .collect();
        let mut load = Vec::new();
        let gone = self.pods.iter().filter(|(name, chain)| wanted.get(*name) != Some(*chain));
        load.extend(gone.map(|(_, chain)| chain.teardown()));
        for (name, chain) in &wanted {
            if self.pods.get(name) != Some(chain) {
                load.extend(chain.setup(!self.is_set_up));
                self.is_set_up = true;
            }
        }
        self.pods = wanted;
        load
    }
}

impl PodChain {
    fn of(cluster: &Cluster, node: &ClusterNode, pod: &ClusterPod) -> Self {
        let device = match cluster.cni() {
            Cni::Bridge | Cni::Vxlan if node.pod_cidr.contains(&pod.ip) => topology::CNI_BRIDGE.to_owned(),
            Cni::Bridge | Cni::Vxlan | Cni::Ptp => topology::port_name(pod.ip),
        };
        let (network, net) = pod_network(cluster, node, pod);
        let id = sandbox_id(pod);
        let name = chain_name("CNI-DN-", network, &id);
        let comment = quoted(&format!("dnat name: \"{network}\" id: \"{id}\""));
        let mut rules = Vec::new();
        for port in &pod.host_ports {
            for rule in dnat(port, pod.ip, net) {
                // `InsertUnique`, pkg/utils/iptables.go.
                if !rules.contains(&rule) {
                    rules.push(rule);
                }
            }
        }
        let mut entries = Vec::new();
        for protocol in [Protocol::Sctp, Protocol::Tcp, Protocol::Udp] {
            let ports = pod.host_ports.iter().filter(|port| port.protocol == protocol);
            let ports: Vec<String> = ports.map(|port| port.port.to_string()).collect();
            entries.extend(ports.chunks(MULTIPORT_MAX).map(|ports| {
                let (protocol, ports) = (protocol.lower(), ports.join(","));
                format!(
                    "-p {protocol} -m comment --comment {comment} -m multiport --dports {ports} -j {name}"
                )
            }));
        }
        Self { name, rules, entries, device }
    }

    fn setup(&self, is_first: bool) -> Vec<Load> {
        let Self { name, rules, entries, device } = self;
        let mut load = Vec::new();
        if is_first {
            load.extend(
                [SETMARK, MASQ, DNAT].map(|chain| {
                    Load::Ensure(Ensure::Chain { family: IpFamily::V4, table: Table::Nat, chain })
                }),
            );
            // The only rule that is prepended (`genMarkMasqChain`).
            load.push(Load::Ensure(Ensure::Jump {
                family: IpFamily::V4,
                table: Table::Nat,
                from: "POSTROUTING",
                rule: format!("-m comment --comment \"CNI portfwd requiring masquerade\" -j {MASQ}"),
            }));
            let local = format!("-m addrtype --dst-type LOCAL -j {DNAT}");
            load.push(restore("nat", &[
                format!("-A {SETMARK} -m comment --comment \"CNI portfwd masquerade mark\" -j MARK --set-xmark {MARK}"),
                format!("-A {MASQ} -m mark --mark {MARK} -j MASQUERADE"),
                format!("-A PREROUTING {local}"),
                format!("-A OUTPUT {local}"),
            ]));
        }
        // `enableLocalnetRouting`, plugins/meta/portmap/utils.go.
        let sysctl = format!("net.ipv4.conf.{device}.route_localnet");
        load.push(Load::Sysctl { name: sysctl, value: "1".to_owned() });
        let chain = [format!(":{name} - [0:0]")];
        let rules = rules.iter().map(|rule| format!("-A {name} {rule}"));
        let entries = entries.iter().map(|rule| format!("-A {DNAT} {rule}"));
        load.push(restore("nat", &chain.into_iter().chain(rules).chain(entries).collect::<Vec<_>>()));
        load
    }

    /// `chain.teardown`, plugins/meta/portmap/chain.go.
    fn teardown(&self) -> Load {
        let entries = self.entries.iter().map(|rule| format!("-D {DNAT} {rule}"));
        let name = &self.name;
        restore("nat", &entries.chain([format!("-F {name}"), format!("-X {name}")]).collect::<Vec<_>>())
    }
}

/// The rules of a port: marks for connections of the Pod's network and of the node to itself, then DNAT.
fn dnat(port: &HostPort, pod: Ipv4Addr, net: Ipv4Net) -> Vec<String> {
    let HostPort { protocol, port, address, target } = port;
    let to = match address {
        // Neither an address of the other family nor one of no family gets a rule.
        Some(None) => return Vec::new(),
        Some(Some(ip)) if !ip.is_unspecified() => format!("-d {ip}/32 "),
        Some(Some(_)) | None => String::new(),
    };
    let protocol = protocol.lower();
    let base = |source: &str| format!("{source}{to}-p {protocol} -m {protocol} --dport {port}");
    vec![
        format!("{} -j {SETMARK}", base(&format!("-s {net} "))),
        format!("{} -j {SETMARK}", base("-s 127.0.0.1/32 ")),
        format!("{} -j DNAT --to-destination {pod}:{target}", base("")),
    ]
}
