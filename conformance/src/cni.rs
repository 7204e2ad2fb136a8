//! The network plug-in on every node: the rules that it loads beside those of kube-proxy, as text for the same tools.
//!
//! kube-proxy starts first, because its Pod is in the node's network; the plug-in loads its rules when Pods start.

mod masquerade;
mod portmap;

use std::collections::BTreeMap;

use ipnet::Ipv4Net;
use proxy_core::load::{Load, Tool};
use sha2::{Digest, Sha256, Sha512};

use crate::cluster::{Cluster, ClusterNode, ClusterPod};
use crate::scenario::Cni;
use masquerade::NodeMasquerade;
use portmap::NodePortmap;

/// `maxChainLength`, pkg/utils/utils.go of containernetworking/plugins.
const CHAIN_LENGTH: usize = 28;

/// The network plug-ins of a cluster.
#[derive(Debug, Clone, Default)]
pub struct Plugins {
    nodes: BTreeMap<String, NodePlugins>,
}

/// The plug-ins of a node, in the order in which they run.
#[derive(Debug, Clone, Default)]
struct NodePlugins {
    masquerade: NodeMasquerade,
    portmap: NodePortmap,
}

impl Plugins {
    /// Loads the rules of new nodes, and adds and removes rules of Pods, after which they are those of this cluster. Returns what
    /// each node loads; nodes that load nothing are omitted.
    pub fn update(&mut self, cluster: &Cluster) -> BTreeMap<String, Vec<Load>> {
        self.nodes.retain(|name, _| cluster.node(name).is_some());
        let mut loads = BTreeMap::new();
        for node in cluster.nodes() {
            let plugins = self.nodes.entry(node.name.clone()).or_default();
            let mut load = plugins.masquerade.update(cluster, node);
            load.extend(plugins.portmap.update(cluster, node));
            if !load.is_empty() {
                loads.insert(node.name.clone(), load);
            }
        }
        loads
    }
}

/// The name of a Pod's network, and the network of its address.
fn pod_network(cluster: &Cluster, node: &ClusterNode, pod: &ClusterPod) -> (&'static str, Ipv4Net) {
    let name = match cluster.cni() {
        Cni::Bridge | Cni::Vxlan => "cbr0",
        Cni::Ptp => "kindnet",
    };
    // The network of the address that the plug-in host-local gives; without a range, only the Pod.
    let prefix = if node.pod_cidr.contains(&pod.ip) { node.pod_cidr.prefix_len() } else { 32 };
    (name, Ipv4Net::new_assert(pod.ip, prefix).trunc())
}

/// The runtime's id of a Pod's sandbox: 64 hexadecimal digits.
fn sandbox_id(pod: &ClusterPod) -> String {
    hex(&Sha256::digest(pod.name.to_string()))
}

/// `MustFormatHashWithPrefix`, pkg/utils/utils.go of containernetworking/plugins.
fn chain_name(prefix: &str, network: &str, id: &str) -> String {
    let mut name = format!("{prefix}{}", hex(&Sha512::digest(format!("{network}{id}"))));
    name.truncate(CHAIN_LENGTH);
    name
}

/// Lower-case digits.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A word in quotation marks, as iptables-save prints it.
fn quoted(word: &str) -> String {
    format!("\"{}\"", word.replace('"', "\\\""))
}

/// Input of `iptables-restore --noflush` with these lines for a table.
fn restore(table: &str, lines: &[String]) -> Load {
    let text = format!("*{table}\n{}\nCOMMIT\n", lines.join("\n"));
    Load::Text { tool: Tool::IptablesRestore, text }
}

#[cfg(test)]
mod tests;
