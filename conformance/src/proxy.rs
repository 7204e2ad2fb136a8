//! kube-proxy on every node: what it loads at start, and what it does when the cluster changes.
//!
//! The only module that asks `proxy-core` for rules. Arms get text and load it.

use std::collections::BTreeMap;

use ipnet::{IpNet, Ipv4Net};
use proxy_core::ObjectError;
use proxy_core::config::{Machine, NodeConfig};
use proxy_core::generator::Generator;
use proxy_core::load::Load;
use proxy_core::objects::IpFamily;
use proxy_core::plan::Plan;
use proxy_core::stale_flows::{FlowCleanup, Frontends};
use proxy_core::version::KubeProxyVersion;

use crate::cluster::{Cluster, Node};
use crate::scenario::ProxyMode;

/// kube-proxy on every node of a cluster.
#[derive(Debug, Clone)]
pub struct Proxies {
    mode: ProxyMode,
    generator: Generator,
    nodes: BTreeMap<String, NodeProxy>,
}

#[derive(Debug, Clone)]
struct NodeProxy {
    config: NodeConfig,
    plan: Plan,
}

/// What a node does when the cluster has changed, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeUpdate {
    /// What it loads; empty if no rule changes.
    pub load: Vec<Load>,
    /// Every UDP entry for which [`Frontends::is_stale`] holds must go from the conntrack table.
    pub stale: Option<Frontends>,
}

impl Proxies {
    /// kube-proxy in one mode, just started on every node, and what each node loads.
    ///
    /// # Errors
    /// What `proxy-core` says about an object; a cluster that was made ready to run has none.
    ///
    /// # Panics
    /// If the mode is not available: the caller has asked [`ProxyMode::is_available`].
    pub fn start(
        mode: ProxyMode,
        cluster: &Cluster,
    ) -> Result<(Self, BTreeMap<String, Vec<Load>>), ObjectError> {
        let generator = mode.available_generator();
        let planner = Planner::new(cluster)?;
        let mut nodes = BTreeMap::new();
        let mut loads = BTreeMap::new();
        for node in cluster.nodes() {
            let config = planner.config(node, KubeProxyVersion::default())?;
            let plan = Plan::new(&planner.model, &config, IpFamily::V4);
            loads.insert(node.name.clone(), generator.load(&plan));
            nodes.insert(node.name.clone(), NodeProxy { config, plan });
        }
        Ok((Self { mode, generator, nodes }, loads))
    }

    /// The mode.
    pub const fn mode(&self) -> ProxyMode {
        self.mode
    }

    /// Tells every node's kube-proxy about the new state of the same cluster.
    ///
    /// # Errors
    /// What `proxy-core` says about an object; a cluster that was made ready to run has none.
    pub fn update(&mut self, cluster: &Cluster) -> Result<BTreeMap<String, NodeUpdate>, ObjectError> {
        let model = proxy_core::cluster::Cluster::new(cluster.objects())?;
        let mut updates = BTreeMap::new();
        for (name, node) in &mut self.nodes {
            let after = Plan::new(&model, &node.config, IpFamily::V4);
            let sync = self.generator.sync(&node.plan, &after);
            let stale = match sync.flows {
                FlowCleanup::None => None,
                FlowCleanup::Reconcile(reconciliation) => Some(reconciliation.frontends(&after)),
                FlowCleanup::Commands(_) => unreachable!("the newest kube-proxy compares the whole table"),
            };
            updates.insert(name.clone(), NodeUpdate { load: sync.load, stale });
            node.plan = after;
        }
        Ok(updates)
    }
}

/// Plans what the nodes of a cluster do. The cluster's Services are read once for all of them.
#[derive(Debug)]
pub struct Planner<'a> {
    cluster: &'a Cluster,
    model: proxy_core::cluster::Cluster,
}

impl<'a> Planner<'a> {
    /// For the nodes of this cluster.
    ///
    /// # Errors
    /// What `proxy-core` says about an object.
    pub fn new(cluster: &'a Cluster) -> Result<Self, ObjectError> {
        Ok(Self { cluster, model: proxy_core::cluster::Cluster::new(cluster.objects())? })
    }

    /// What a node does for one family, independent of the proxy mode.
    ///
    /// # Errors
    /// What `proxy-core` says about the node's configuration.
    pub fn plan(
        &self,
        node: &Node,
        family: IpFamily,
        version: KubeProxyVersion,
    ) -> Result<Plan, ObjectError> {
        Ok(Plan::new(&self.model, &self.config(node, version)?, family))
    }

    fn config(&self, node: &Node, version: KubeProxyVersion) -> Result<NodeConfig, ObjectError> {
        let configuration = self.cluster.kube_proxy_configuration();
        let object = self.cluster.node_object(&node.name);
        NodeConfig::new(machine(self.cluster, node, version), &configuration, object)
    }
}

/// The machine that a node is, as [`crate::topology`] builds it.
fn machine(cluster: &Cluster, node: &Node, version: KubeProxyVersion) -> Machine {
    let mut machine = Machine { kube_proxy_version: version, ..Machine::new(node.name.as_str()) };
    let own = [(node.ip, cluster.lan().prefix_len()), (node.pod_gateway, node.pod_cidr.prefix_len())];
    machine.interface_addresses.extend(own.map(|(ip, prefix)| IpNet::V4(Ipv4Net::new_assert(ip, prefix))));
    machine
}
