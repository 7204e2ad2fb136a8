//! Masquerading of what Pods send out of the cluster, as network plug-ins do it.
//!
//! Each function prints the rules of one plug-in; the comment above names the function that they follow. Sets and chains keep the
//! plug-ins' names.

use std::collections::BTreeMap;

use proxy_core::load::{Ensure, Load, Table, Tool};
use proxy_core::objects::IpFamily;

use super::{chain_name, pod_network, quoted, restore, sandbox_id};
use crate::cluster::{Cluster, ClusterNode, ClusterPod};
use crate::scenario::{Masquerade, ObjectName};

/// kube-proxy's mark (`KubeProxyMark`, pkg/trafficmngr/trafficmngr.go of flannel).
const KUBE_PROXY_MARK: &str = "0x4000/0x4000";

/// Masquerading on a node.
#[derive(Debug, Clone, Default)]
pub(super) struct NodeMasquerade {
    /// True once the rules of the node are loaded.
    is_set_up: bool,
    /// The rules of Pods, for a plug-in that has some.
    pods: BTreeMap<ObjectName, PodRules>,
}

/// What is loaded when a Pod starts, and when it is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
struct PodRules {
    add: Vec<String>,
    delete: Vec<String>,
}

impl NodeMasquerade {
    /// The rules of the node, once; and those of Pods that are gone, changed or new.
    pub(super) fn update(&mut self, cluster: &Cluster, node: &ClusterNode) -> Vec<Load> {
        let mut load = Vec::new();
        if !std::mem::replace(&mut self.is_set_up, true) {
            load.extend(match cluster.network().masquerade {
                Masquerade::None | Masquerade::Bridge => Vec::new(),
                Masquerade::Flannel => flannel(cluster, node),
                Masquerade::Kindnet => kindnet(cluster),
                Masquerade::Calico => calico(cluster),
                Masquerade::IpMasqAgent => ip_masq_agent(),
                Masquerade::VpcCni => vpc_cni(cluster, node),
            });
        }
        let pods = match cluster.network().masquerade {
            Masquerade::Bridge => bridge_pods(cluster, node),
            Masquerade::None
            | Masquerade::Flannel
            | Masquerade::Kindnet
            | Masquerade::Calico
            | Masquerade::IpMasqAgent
            | Masquerade::VpcCni => BTreeMap::new(),
        };
        let gone = self.pods.iter().filter(|(name, rules)| pods.get(*name) != Some(*rules));
        load.extend(gone.map(|(_, rules)| restore("nat", &rules.delete)));
        let new = pods.iter().filter(|(name, rules)| self.pods.get(*name) != Some(*rules));
        load.extend(new.map(|(_, rules)| restore("nat", &rules.add)));
        self.pods = pods;
        load
    }
}

/// `masqRules` and `forwardRules`, pkg/trafficmngr/iptables/iptables.go of flannel.
fn flannel(cluster: &Cluster, node: &ClusterNode) -> Vec<Load> {
    let (all, own) = (cluster.cluster_cidr(), node.pod_cidr);
    let rule = |matches: &str, target: &str| {
        let space = if matches.is_empty() { "" } else { " " };
        format!("-A FLANNEL-POSTRTG {matches}{space}-m comment --comment \"flanneld masq\" -j {target}")
    };
    let masquerade = "MASQUERADE --random-fully";
    let nat = [
        "-A POSTROUTING -m comment --comment \"flanneld masq\" -j FLANNEL-POSTRTG".to_owned(),
        rule(&format!("-m mark --mark {KUBE_PROXY_MARK}"), "RETURN"),
        rule(&format!("-s {own} -d {all}"), "RETURN"),
        rule(&format!("-s {all} -d {own}"), "RETURN"),
        rule(&format!("! -s {all} -d {own}"), "RETURN"),
        rule(&format!("-s {all} ! -d 224.0.0.0/4"), masquerade),
        rule(&format!("! -s {all} -d {all}"), masquerade),
    ];
    let forward = "-m comment --comment \"flanneld forward\"";
    let filter = [
        format!("-A FORWARD {forward} -j FLANNEL-FWD"),
        format!("-A FLANNEL-FWD -s {all} {forward} -j ACCEPT"),
        format!("-A FLANNEL-FWD -d {all} {forward} -j ACCEPT"),
    ];
    vec![
        chain(Table::Nat, "FLANNEL-POSTRTG"),
        restore("nat", &nat),
        chain(Table::Filter, "FLANNEL-FWD"),
        restore("filter", &filter),
    ]
}

/// `SyncRules`, cmd/kindnetd/masq.go of kindnet, with the range of Pods (`POD_SUBNET`) as the network not to masquerade.
fn kindnet(cluster: &Cluster) -> Vec<Load> {
    let all = cluster.cluster_cidr();
    let comment = |what: &str| format!("-m comment --comment \"kind-masq-agent: {what}\"");
    let local = comment("local traffic is not subject to MASQUERADE");
    let outbound = comment("outbound traffic is subject to MASQUERADE (must be last in chain)");
    let jump = comment(
        "ensure nat POSTROUTING directs all non-LOCAL destination traffic to our custom KIND-MASQ-AGENT chain",
    );
    let rules = [
        format!("-A KIND-MASQ-AGENT -d {all} {local} -j RETURN"),
        format!("-A KIND-MASQ-AGENT {outbound} -j MASQUERADE"),
        format!("-A POSTROUTING -m addrtype ! --dst-type LOCAL {jump} -j KIND-MASQ-AGENT"),
    ];
    vec![chain(Table::Nat, "KIND-MASQ-AGENT"), restore("nat", &rules)]
}

/// `NATOutgoingChain`, felix/rules/nat.go of Calico, and the jumps of `StaticNATPostroutingChains`, felix/rules/static.go, which
/// felix inserts in front. One pool has the range of Pods, with `natOutgoing`. The hashes in
/// comments are left out, and `cali-fip-snat`, which has no rules.
fn calico(cluster: &Cluster) -> Vec<Load> {
    let all = cluster.cluster_cidr();
    let sets = ["cali40all-ipam-pools", "cali40masq-ipam-pools"].map(|set| {
        format!("create {set} hash:net family inet hashsize 1024 maxelem 1048576\nadd {set} {all}\n")
    });
    let rules = [
        "-A cali-POSTROUTING -j cali-nat-outgoing".to_owned(),
        "-A cali-nat-outgoing -m set --match-set cali40masq-ipam-pools src -m set ! --match-set cali40all-ipam-pools dst \
         -j MASQUERADE --random-fully"
            .to_owned(),
    ];
    vec![
        Load::Text { tool: Tool::IpsetRestore, text: sets.concat() },
        chain(Table::Nat, "cali-POSTROUTING"),
        chain(Table::Nat, "cali-nat-outgoing"),
        restore("nat", &rules),
        Load::Ensure(Ensure::Jump {
            family: IpFamily::V4,
            table: Table::Nat,
            from: "POSTROUTING",
            rule: "-j cali-POSTROUTING".to_owned(),
        }),
    ]
}

/// `syncMasqRules`, cmd/ip-masq-agent/ip-masq-agent.go of ip-masq-agent, with its default configuration: private addresses are
/// not masqueraded.
fn ip_masq_agent() -> Vec<Load> {
    let comment = |what: &str| format!("-m comment --comment \"ip-masq-agent: {what}\"");
    let local = comment("local traffic is not subject to MASQUERADE");
    let outbound = comment("outbound traffic is subject to MASQUERADE (must be last in chain)");
    // The agent puts quotation marks into this comment.
    let jump = quoted(
        "\"ip-masq-agent: ensure nat POSTROUTING directs all non-LOCAL destination traffic to our custom IP-MASQ-AGENT chain\"",
    );
    let mut rules = vec![format!(
        "-A POSTROUTING -m comment --comment {jump} -m addrtype ! --dst-type LOCAL -j IP-MASQ-AGENT"
    )];
    let private = ["169.254.0.0/16", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"];
    rules.extend(private.map(|net| format!("-A IP-MASQ-AGENT -d {net} {local} -j RETURN")));
    rules.push(format!("-A IP-MASQ-AGENT {outbound} -j MASQUERADE --random-fully"));
    vec![chain(Table::Nat, "IP-MASQ-AGENT"), restore("nat", &rules)]
}

/// `buildIptablesSNATRules`, pkg/networkutils/network.go of amazon-vpc-cni-k8s. The VPC has the ranges of Pods and of nodes. The
/// rules that mark connections choose one of several network interfaces, which nodes here do not have; they are left out.
fn vpc_cni(cluster: &Cluster, node: &ClusterNode) -> Vec<Load> {
    let vpc = [cluster.cluster_cidr(), cluster.lan()];
    let mut rules =
        vec!["-A POSTROUTING -m comment --comment \"AWS SNAT CHAIN\" -j AWS-SNAT-CHAIN-0".to_owned()];
    rules.extend(vpc.map(|net| {
        format!("-A AWS-SNAT-CHAIN-0 -d {net} -m comment --comment \"AWS SNAT CHAIN\" -j RETURN")
    }));
    rules.push(format!(
        "-A AWS-SNAT-CHAIN-0 ! -o vlan+ -m comment --comment \"AWS, SNAT\" -m addrtype ! --dst-type LOCAL -j SNAT \
         --to-source {} --random-fully",
        node.ip
    ));
    vec![chain(Table::Nat, "AWS-SNAT-CHAIN-0"), restore("nat", &rules)]
}

/// `SetupIPMasq`, pkg/ip/ipmasq_iptables_linux.go of containernetworking/plugins: the plug-ins bridge and ptp with `ipMasq`. What
/// leaves a node is masqueraded, also to Pods of other nodes.
fn bridge_pods(cluster: &Cluster, node: &ClusterNode) -> BTreeMap<ObjectName, PodRules> {
    let pods = cluster.pods().iter().filter(|pod| pod.node == node.name && !pod.is_host_network);
    pods.map(|pod| (pod.name.clone(), bridge_pod(cluster, node, pod))).collect()
}

fn bridge_pod(cluster: &Cluster, node: &ClusterNode, pod: &ClusterPod) -> PodRules {
    let (network, net) = pod_network(cluster, node, pod);
    let id = sandbox_id(pod);
    let chain = chain_name("CNI-", network, &id);
    let comment = quoted(&format!("name: \"{network}\" id: \"{id}\""));
    let jump = format!("POSTROUTING -s {}/32 -m comment --comment {comment} -j {chain}", pod.ip);
    PodRules {
        add: vec![
            format!(":{chain} - [0:0]"),
            format!("-A {chain} -d {net} -m comment --comment {comment} -j ACCEPT"),
            format!("-A {chain} ! -d 224.0.0.0/4 -m comment --comment {comment} -j MASQUERADE"),
            format!("-A {jump}"),
        ],
        delete: vec![format!("-D {jump}"), format!("-F {chain}"), format!("-X {chain}")],
    }
}

/// Creates a chain, unless it exists.
fn chain(table: Table, chain: &'static str) -> Load {
    Load::Ensure(Ensure::Chain { family: IpFamily::V4, table, chain })
}
