//! The plan in the words of iptables: `iptables-restore --noflush` input, and the commands around it.
//!
//! Which rule stands where is kube-proxy's iptables mode, pkg/proxy/iptables/proxier.go, `syncProxyRules`.
//! That function cannot say in which order Services come; here they come in the order of their names.

mod dispatch;
mod fixed;
mod jumps;
mod lines;
mod matches;
mod service_chains;

use std::fmt;

pub(crate) use dispatch::{Dispatch, SharedChain, count_dispatch, dispatch};
use lines::Lines;
use service_chains::ServiceChains;
pub(crate) use service_chains::{chain_names, chain_texts};

use crate::objects::IpFamily;
use crate::plan::Plan;

/// More endpoints than this, and comments about single endpoints are left out.
///
/// kube-proxy: `largeClusterEndpointsThreshold`, pkg/proxy/iptables/proxier.go.
pub const LARGE_CLUSTER_ENDPOINTS: usize = 1000;

/// What a node loads for one family, from nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IptablesText {
    /// Commands that make the fixed chains and the jumps into them, to be run in this order before the
    /// restore. A chain is made once per jump, as kube-proxy ensures it; `-N` of a chain that is there fails
    /// and harms nothing.
    pub jumps: Vec<String>,
    /// Input for `iptables-restore --noflush` (or `ip6tables-restore`).
    pub restore: String,
}

/// A table that kube-proxy writes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// `filter`.
    Filter,
    /// `nat`.
    Nat,
}

impl fmt::Display for Table {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Filter => "filter",
            Self::Nat => "nat",
        })
    }
}

/// Everything that a node loads for this plan, from nothing.
pub fn full(plan: &Plan) -> IptablesText {
    IptablesText { jumps: jumps::commands(plan.family), restore: restore(plan) }
}

/// sysctls that kube-proxy sets for this plan at start.
pub fn sysctls(plan: &Plan) -> Vec<(String, String)> {
    // Without it the kernel takes packets that DNAT sends from 127.0.0.0/8 to a pod for martians.
    let route_localnet = ("net.ipv4.conf.all.route_localnet".to_owned(), "1".to_owned());
    if plan.node.localhost_node_ports { vec![route_localnet] } else { Vec::new() }
}

/// The command that loads restore input of this family.
pub fn restore_command(family: IpFamily) -> &'static str {
    match family {
        IpFamily::V4 => "iptables-restore",
        IpFamily::V6 => "ip6tables-restore",
    }
}

/// Whether comments about single endpoints are left out.
pub(crate) fn is_large_cluster(plan: &Plan) -> bool {
    plan.endpoint_count > LARGE_CLUSTER_ENDPOINTS
}

fn restore(plan: &Plan) -> String {
    let Plan { family, node, .. } = plan;
    let chains: Vec<_> = plan.services.values().map(|service| ServiceChains::new(service)).collect();
    let mut text = Lines::with_capacity(estimated_bytes(plan));
    text.push_text("*filter\n");
    fixed::declare_filter(&mut text, node, *family);
    for service in plan.services.values() {
        dispatch::write_filter(&mut text, service);
    }
    fixed::write_filter(&mut text, node, *family);
    text.push_text("COMMIT\n*nat\n");
    fixed::declare_nat(&mut text);
    for chain in chains.iter().flat_map(ServiceChains::names) {
        text.concat(&[&[":", chain.as_str(), " - [0:0]"]]);
    }
    fixed::write_nat(&mut text, node);
    let large = is_large_cluster(plan);
    for (service, chains) in plan.services.values().zip(&chains) {
        dispatch::write_nat(&mut text, service, node, *family);
        chains.write(&mut text, service, node, large);
    }
    fixed::write_node_port_tail(&mut text, node, *family);
    text.push_text("COMMIT\n");
    text.into_string()
}

/// About how long the text gets, so that it need not be moved while it grows.
fn estimated_bytes(plan: &Plan) -> usize {
    const BYTES_PER_SERVICE: usize = 600;
    const BYTES_PER_ENDPOINT: usize = 500;
    4096 + plan.services.len() * BYTES_PER_SERVICE + plan.endpoint_count * BYTES_PER_ENDPOINT
}
