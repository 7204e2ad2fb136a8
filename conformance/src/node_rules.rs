//! What kube-proxy loads on a node of a cluster: the text that every arm is given, and that `hairpin render` prints.

use ipnet::IpNet;
use proxy_core::ObjectError;
use proxy_core::config::{Machine, NodeConfig};
use proxy_core::iptables::{self, IptablesText};
use proxy_core::objects::IpFamily;
use proxy_core::plan::Plan;

use crate::cluster::Cluster;
use crate::topology::{Netns, Topology};

/// What kube-proxy loads on one node, from nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeRules {
    /// sysctls that it sets at start, in order.
    pub sysctls: Vec<(String, String)>,
    /// Rules by family, in the order in which families were asked for.
    pub families: Vec<(IpFamily, IptablesText)>,
}

/// What kube-proxy knows of a node at start: its configuration, the Node object, and the addresses of the machine.
///
/// # Errors
/// A field of either that kube-proxy would refuse.
pub fn node_config(cluster: &Cluster, node: &str) -> Result<NodeConfig, ObjectError> {
    let mut machine = Machine::new(node);
    let topology = Topology::of(cluster);
    let plan = topology.netns.get(&Netns::Node(node.to_owned()));
    let addresses = plan.into_iter().flat_map(|plan| &plan.addresses);
    machine.interface_addresses.extend(addresses.map(|address| IpNet::V4(address.net)));
    NodeConfig::new(machine, &cluster.kube_proxy_configuration(), cluster.node_object(node))
}

/// What kube-proxy loads on a node for these families.
///
/// # Errors
/// A field of an object that kube-proxy would refuse.
pub fn node_rules(cluster: &Cluster, node: &str, families: &[IpFamily]) -> Result<NodeRules, ObjectError> {
    let config = node_config(cluster, node)?;
    let objects = proxy_core::cluster::Cluster::new(cluster.objects())?;
    let mut rules = NodeRules { sysctls: config.conntrack_sysctls.clone(), families: Vec::new() };
    for family in families {
        let plan = Plan::new(&objects, &config, *family);
        for sysctl in iptables::sysctls(&plan) {
            if !rules.sysctls.contains(&sysctl) {
                rules.sysctls.push(sysctl);
            }
        }
        rules.families.push((*family, iptables::full(&plan)));
    }
    Ok(rules)
}
