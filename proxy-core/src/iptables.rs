//! The plan in the words of iptables: `iptables-restore --noflush` input, and the commands around it.
//!
//! Which rule stands where is kube-proxy's iptables mode, pkg/proxy/iptables/proxier.go, `syncProxyRules`. That
//! function cannot say in which order Services come; here they come in the order of their names.

mod dispatch;
mod fixed;
mod jumps;
mod matches;
mod service_chains;

use std::fmt;

pub(crate) use dispatch::{Dispatch, SharedChain, count_dispatch, write_dispatch};
pub(crate) use service_chains::{ChainTexts, write_service_chains};

use crate::objects::IpFamily;
use crate::plan::Plan;

/// More endpoints than this, and comments about single endpoints are left out.
///
/// kube-proxy: `largeClusterEndpointsThreshold`, pkg/proxy/iptables/proxier.go.
pub const LARGE_CLUSTER_ENDPOINTS: usize = 1000;

/// What a node loads for one family, from nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IptablesText {
    /// Commands that make the fixed chains and the jumps into them, to be run in this order before the restore. A
    /// chain is made once per jump, as kube-proxy ensures it; `-N` of a chain that is there fails and harms nothing.
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
    let large = is_large_cluster(plan);
    let mut dispatch = Dispatch::default();
    let mut chains = ChainTexts::default();
    for service in plan.services.values() {
        write_dispatch(&mut dispatch, service, &plan.node, plan.family);
        write_service_chains(&mut chains, service, &plan.node, large);
    }
    let mut text = String::with_capacity(dispatch.len() + chains.len() * 5 / 4 + 4096);
    text.push_str("*filter\n");
    fixed::write_filter(&mut text, &plan.node, plan.family, &dispatch.filter);
    text.push_str("COMMIT\n*nat\n");
    fixed::write_nat(&mut text, &plan.node, plan.family, &chains, &dispatch.nat);
    text.push_str("COMMIT\n");
    text
}

/// Rule lines, one after the other, as restore input holds them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Lines(String);

impl Lines {
    /// Adds one line.
    pub(crate) fn push(&mut self, line: fmt::Arguments<'_>) {
        fmt::Write::write_fmt(&mut self.0, line).expect("a String takes everything");
        self.0.push('\n');
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}
