//! kube-proxy on every node: the rules it loads at start, and its updates when the cluster changes.
//!
//! The only module that calls `proxy-core` for rules. Arms receive text and load it.

use std::collections::BTreeMap;

use ipnet::{IpNet, Ipv4Net};
use proxy_core::ObjectError;
use proxy_core::config::{Machine, NodeConfig};
use proxy_core::generator::{Generator, Sync};
use proxy_core::ipvs::{NodeState, RealServer};
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
    /// In IPVS mode, what kube-proxy knows about its node.
    ipvs: Option<NodeState>,
}

impl NodeProxy {
    /// kube-proxy on a node, and what it loads at start.
    fn start(generator: Generator, store: &ServiceStore, config: NodeConfig) -> (Self, Vec<Load>) {
        let plan = Plan::new(store, &config, IpFamily::V4);
        let load = generator.load(&plan);
        let ipvs = match generator {
            Generator::Iptables => None,
            Generator::Ipvs => Some(NodeState::new(&plan)),
        };
        (Self { config, plan, ipvs }, load)
    }

    /// What to load and to delete after a change of Services and endpoints.
    fn sync(&mut self, generator: Generator, store: &ServiceStore) -> NodeUpdate {
        let after = Plan::new(store, &self.config, IpFamily::V4);
        let (load, flows) = match &mut self.ipvs {
            None => {
                let Sync { load, flows, draining: _ } = generator.sync(&self.plan, &after);
                (load, flows)
            }
            Some(ipvs) => {
                let change = after.change_since(&self.plan);
                (ipvs.sync(&after, &change), FlowCleanup::after(&after, &change))
            }
        };
        let stale = match flows {
            FlowCleanup::None => None,
            FlowCleanup::Reconcile(reconciliation) => Some(reconciliation.frontends(&after)),
            FlowCleanup::Delete(_) => unreachable!("the newest kube-proxy reconciles the whole table"),
        };
        self.plan = after;
        NodeUpdate { load, stale }
    }
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
            let (proxy, load) = NodeProxy::start(generator, &planner.store, config);
            loads.insert(node.name.clone(), load);
            nodes.insert(node.name.clone(), proxy);
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
            updates.changed.insert(name.clone(), node.sync(self.generator, &planner.store));
        }
        for node in cluster.nodes().iter().filter(|node| !updates.changed.contains_key(&node.name)) {
            let config = planner.config(node, KubeProxyVersion::default())?;
            let (proxy, load) = NodeProxy::start(self.generator, &planner.store, config);
            updates.started.insert(node.name.clone(), load);
            self.nodes.insert(node.name.clone(), proxy);
        }
        Ok(updates)
    }

    /// Nodes with servers of weight 0, in IPVS mode.
    pub fn draining_nodes(&self) -> impl Iterator<Item = &str> {
        let is_draining = |node: &NodeProxy| node.ipvs.as_ref().is_some_and(|ipvs| ipvs.draining().len() > 0);
        self.nodes.iter().filter(move |(_, node)| is_draining(node)).map(|(name, _)| name.as_str())
    }

    /// Lines for `ipvsadm --restore` that delete the servers of weight 0 without connections on a node; `connections`
    /// returns the number of connections of a server.
    pub fn drain(&mut self, node: &str, connections: impl FnMut(&RealServer) -> u64) -> String {
        let ipvs = self.nodes.get_mut(node).and_then(|node| node.ipvs.as_mut());
        ipvs.map_or_else(String::new, |ipvs| ipvs.drain(connections))
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
