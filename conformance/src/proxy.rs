//! kube-proxy on every node: the rules it loads at start, and its updates when the cluster changes.
//!
//! The only module that calls `proxy-core` for rules. Arms receive text and load it.

use std::collections::BTreeMap;

use ipnet::{IpNet, Ipv4Net};
use proxy_core::ObjectError;
use proxy_core::config::{Machine, NodeConfig};
use proxy_core::generator::Generator;
use proxy_core::load::Load;
use proxy_core::objects::IpFamily;
use proxy_core::plan::Plan;
use proxy_core::service_store::ServiceStore;
use proxy_core::stale_flows::{FlowCleanup, Frontends};
use proxy_core::version::KubeProxyVersion;

use crate::cluster::{Cluster, ClusterNode};
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

/// The changes that a node applies after a change of the cluster, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeUpdate {
    /// What to load; empty if no rule changes.
    pub load: Vec<Load>,
    /// Every UDP entry for which [`Frontends::is_stale`] is true must be deleted.
    pub stale: Option<Frontends>,
}

/// What kube-proxy does after a change of the cluster, by node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Updates {
    /// The changes of each node that was there before.
    pub changed: BTreeMap<String, NodeUpdate>,
    /// What each new node loads.
    pub started: BTreeMap<String, Vec<Load>>,
}

impl Proxies {
    /// kube-proxy in one mode, freshly started on every node, and the rules of each node.
    ///
    /// # Errors
    /// Errors of `proxy-core` about an object; a validated cluster has none.
    ///
    /// # Panics
    /// If the mode is not available: callers check [`ProxyMode::is_available`].
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
            let plan = Plan::new(&planner.store, &config, IpFamily::V4);
            loads.insert(node.name.clone(), generator.load(&plan));
            nodes.insert(node.name.clone(), NodeProxy { config, plan });
        }
        Ok((Self { mode, generator, nodes }, loads))
    }

    /// The mode.
    pub const fn mode(&self) -> ProxyMode {
        self.mode
    }

    /// Updates kube-proxy on every node to a new state of the cluster, and starts it on new nodes. Returns the updates, and
    /// the rules of new nodes.
    ///
    /// # Errors
    /// Errors of `proxy-core` about an object; a validated cluster has none.
    pub fn update(&mut self, cluster: &Cluster) -> Result<Updates, ObjectError> {
        let planner = Planner::new(cluster)?;
        self.nodes.retain(|name, _| cluster.node(name).is_some());
        let mut updates = Updates::default();
        for (name, node) in &mut self.nodes {
            let after = Plan::new(&planner.store, &node.config, IpFamily::V4);
            let sync = self.generator.sync(&node.plan, &after);
            let stale = match sync.flows {
                FlowCleanup::None => None,
                FlowCleanup::Reconcile(reconciliation) => Some(reconciliation.frontends(&after)),
                FlowCleanup::Delete(_) => unreachable!("the newest kube-proxy reconciles the whole table"),
            };
            updates.changed.insert(name.clone(), NodeUpdate { load: sync.load, stale });
            node.plan = after;
        }
        for node in cluster.nodes().iter().filter(|node| !updates.changed.contains_key(&node.name)) {
            let config = planner.config(node, KubeProxyVersion::default())?;
            let plan = Plan::new(&planner.store, &config, IpFamily::V4);
            updates.started.insert(node.name.clone(), self.generator.load(&plan));
            self.nodes.insert(node.name.clone(), NodeProxy { config, plan });
        }
        Ok(updates)
    }
}

/// Plans all nodes of a cluster. The cluster's Services are parsed once.
#[derive(Debug)]
pub struct Planner<'a> {
    cluster: &'a Cluster,
    store: ServiceStore,
}

impl<'a> Planner<'a> {
    /// A planner for the nodes of this cluster.
    ///
    /// # Errors
    /// Errors of `proxy-core` about an object.
    pub fn new(cluster: &'a Cluster) -> Result<Self, ObjectError> {
        Ok(Self { cluster, store: ServiceStore::new(cluster.objects())? })
    }

    /// The plan of a node for one family, independent of the proxy mode.
    ///
    /// # Errors
    /// Errors of `proxy-core` about the node's configuration.
    pub fn plan(
        &self,
        node: &ClusterNode,
        family: IpFamily,
        version: KubeProxyVersion,
    ) -> Result<Plan, ObjectError> {
        Ok(Plan::new(&self.store, &self.config(node, version)?, family))
    }

    fn config(&self, node: &ClusterNode, version: KubeProxyVersion) -> Result<NodeConfig, ObjectError> {
        let configuration = self.cluster.kube_proxy_configuration();
        let object = self.cluster.node_object(&node.name);
        NodeConfig::new(machine(self.cluster, node, version), &configuration, object)
    }
}

/// The machine of a node, as built by [`crate::topology`].
fn machine(cluster: &Cluster, node: &ClusterNode, version: KubeProxyVersion) -> Machine {
    let mut machine = Machine { kube_proxy_version: version, ..Machine::new(node.name.as_str()) };
    let own = [(node.ip, cluster.lan().prefix_len()), (node.pod_gateway, node.pod_cidr.prefix_len())];
    machine.interface_addresses.extend(own.map(|(ip, prefix)| IpNet::V4(Ipv4Net::new_assert(ip, prefix))));
    machine
        .interface_addresses
        .extend(cluster.node_addresses(&node.name).iter().map(|more| IpNet::V4(more.net)));
    machine
}
