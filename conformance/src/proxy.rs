//! kube-proxy on every node: what it loads at start, and what it does when the cluster changes.
//!
//! The only module that asks `proxy-core` for rules. Arms get text and load it.

use std::collections::BTreeMap;

use ipnet::{IpNet, Ipv4Net};
use proxy_core::config::{Machine, NodeConfig};
use proxy_core::objects::IpFamily;
use proxy_core::plan::Plan;
use proxy_core::stale_flows::{FlowCleanup, Frontends};
use proxy_core::version::KubeProxyVersion;
use proxy_core::{ObjectError, iptables, sync};

use crate::cluster::{Cluster, Node};
use crate::scenario::ProxyMode;

/// kube-proxy on every node of a cluster.
#[derive(Debug, Clone)]
pub struct Proxies {
    mode: ProxyMode,
    nodes: BTreeMap<String, NodeProxy>,
}

#[derive(Debug, Clone)]
struct NodeProxy {
    config: NodeConfig,
    plan: Plan,
}

/// What a node loads from nothing, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeRules {
    /// sysctls.
    pub sysctls: Vec<(String, String)>,
    /// `iptables` command lines. One that makes a chain which is there fails and harms nothing.
    pub commands: Vec<String>,
    /// Input of `iptables-restore --noflush`.
    pub restore: String,
}

/// What a node does when the cluster has changed, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeUpdate {
    /// Input of `iptables-restore --noflush`; empty if no rule changes.
    pub restore: String,
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
    ) -> Result<(Self, BTreeMap<String, NodeRules>), ObjectError> {
        assert!(mode.is_available(), "the mode {mode} has no rules in this version");
        let model = proxy_core::cluster::Cluster::new(cluster.objects())?;
        let mut nodes = BTreeMap::new();
        let mut rules = BTreeMap::new();
        for node in cluster.nodes() {
            let config = node_config(cluster, node, KubeProxyVersion::default())?;
            let plan = Plan::new(&model, &config, IpFamily::V4);
            rules.insert(node.name.clone(), node_rules(&config, &plan));
            nodes.insert(node.name.clone(), NodeProxy { config, plan });
        }
        Ok((Self { mode, nodes }, rules))
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
            let sync = sync::between(&node.plan, &after);
            let stale = match sync.flows {
                FlowCleanup::None => None,
                FlowCleanup::Reconcile(reconciliation) => Some(reconciliation.frontends(&after)),
                FlowCleanup::Commands(_) => unreachable!("the newest kube-proxy compares the whole table"),
            };
            updates.insert(name.clone(), NodeUpdate { restore: sync.restore, stale });
            node.plan = after;
        }
        Ok(updates)
    }
}

/// What a node loads from nothing for one family; for IPv4 it is what [`Proxies::start`] gives.
///
/// # Errors
/// What `proxy-core` says about an object.
pub fn rules(
    cluster: &Cluster,
    node: &Node,
    family: IpFamily,
    version: KubeProxyVersion,
) -> Result<NodeRules, ObjectError> {
    Ok(node_rules(&node_config(cluster, node, version)?, &plan(cluster, node, family, version)?))
}

/// What a node is to do for one family, before it is put into any rule language.
///
/// # Errors
/// What `proxy-core` says about an object.
pub fn plan(
    cluster: &Cluster,
    node: &Node,
    family: IpFamily,
    version: KubeProxyVersion,
) -> Result<Plan, ObjectError> {
    let model = proxy_core::cluster::Cluster::new(cluster.objects())?;
    Ok(Plan::new(&model, &node_config(cluster, node, version)?, family))
}

fn node_config(cluster: &Cluster, node: &Node, version: KubeProxyVersion) -> Result<NodeConfig, ObjectError> {
    let configuration = cluster.kube_proxy_configuration();
    NodeConfig::new(machine(cluster, node, version), &configuration, cluster.node_object(&node.name))
}

fn node_rules(config: &NodeConfig, plan: &Plan) -> NodeRules {
    let text = iptables::full(plan);
    let mut sysctls = config.conntrack_sysctls.clone();
    sysctls.extend(iptables::sysctls(plan));
    NodeRules { sysctls, commands: text.jumps, restore: text.restore }
}

/// The machine that a node is, as [`crate::topology`] builds it.
fn machine(cluster: &Cluster, node: &Node, version: KubeProxyVersion) -> Machine {
    let mut machine = Machine { kube_proxy_version: version, ..Machine::new(node.name.as_str()) };
    let own = [(node.ip, cluster.lan().prefix_len()), (node.pod_gateway, node.pod_cidr.prefix_len())];
    machine.interface_addresses.extend(own.map(|(ip, prefix)| IpNet::V4(Ipv4Net::new_assert(ip, prefix))));
    machine
}
