//! The network plug-in on every node: the rules that it loads beside those of kube-proxy, as text for the same tools.
//!
//! kube-proxy starts first, because its Pod is in the node's network; the plug-in loads its rules when Pods start.

mod portmap;

use std::collections::BTreeMap;

use proxy_core::load::Load;

use crate::cluster::Cluster;
use portmap::NodePortmap;

/// The network plug-ins of a cluster.
#[derive(Debug, Clone, Default)]
pub struct Plugins {
    nodes: BTreeMap<String, NodePortmap>,
}

impl Plugins {
    /// Adds and removes rules of Pods, after which they are those of this cluster. Returns what each node loads; nodes that
    /// load nothing are omitted.
    pub fn update(&mut self, cluster: &Cluster) -> BTreeMap<String, Vec<Load>> {
        self.nodes.retain(|name, _| cluster.node(name).is_some());
        let mut loads = BTreeMap::new();
        for node in cluster.nodes() {
            let load = self.nodes.entry(node.name.clone()).or_default().update(cluster, node);
            if !load.is_empty() {
                loads.insert(node.name.clone(), load);
            }
        }
        loads
    }
}
