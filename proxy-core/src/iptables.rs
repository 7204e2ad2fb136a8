//! iptables mode: the plan as iptables text.
//!
//! The rules and their order follow kube-proxy's iptables mode, pkg/proxy/iptables/proxier.go, `syncProxyRules`. That
//! function writes Services in arbitrary order; here they are ordered by name.

mod chain_name;
pub mod diff;
mod dispatch;
pub(crate) mod fixed;
mod jumps;
pub(crate) mod matches;
pub(crate) mod rules;
mod service_chains;
pub mod sync;

use rules::{Chain, RestoreText, TableRules};
use service_chains::ServiceChains;

use crate::load::{Load, Table, Tool};
use crate::objects::IpFamily;
use crate::plan::Plan;

/// With more endpoints than this, comments about single endpoints are omitted.
///
/// kube-proxy: `largeClusterEndpointsThreshold`, pkg/proxy/iptables/proxier.go.
pub const LARGE_CLUSTER_ENDPOINTS: usize = 1000;

/// Everything that a node with empty tables loads for this plan. The conntrack settings common to all modes precede it.
///
/// As in kube-proxy, a chain is ensured once per jump.
pub fn load(plan: &Plan) -> impl Iterator<Item = Load> {
    // Otherwise the kernel treats packets that DNAT redirects from 127.0.0.0/8 to a Pod as martians.
    let route_localnet = plan
        .node
        .localhost_node_ports
        .then(|| Load::Sysctl { name: "net.ipv4.conf.all.route_localnet".to_owned(), value: "1".to_owned() });
    let restore = Load::Text { tool: restore_tool(plan.family), text: restore(plan) };
    route_localnet.into_iter().chain(jumps::ensured(plan.family).map(Load::Ensure)).chain([restore])
}

/// Input of `iptables-restore --noflush` (or `ip6tables-restore`) with all rules of this plan except the jumps from
/// built-in chains.
pub fn restore(plan: &Plan) -> String {
    let tables = tables(plan);
    let size = |TableRules { chains, rules, .. }: &TableRules| chains.len() * 40 + rules.as_str().len() + 16;
    let mut text = RestoreText::with_capacity(tables.iter().map(size).sum());
    for TableRules { table, chains, rules } in &tables {
        text.table(*table, chains.iter().map(Chain::as_str), [rules.as_str()]);
    }
    text.into_string()
}

/// The tool that loads the text for this family.
pub(crate) const fn restore_tool(family: IpFamily) -> Tool {
    match family {
        IpFamily::V4 => Tool::IptablesRestore,
        IpFamily::V6 => Tool::Ip6tablesRestore,
    }
}

/// True if comments about single endpoints are omitted.
fn is_large_cluster(plan: &Plan) -> bool {
    plan.endpoint_count > LARGE_CLUSTER_ENDPOINTS
}

/// The chains and rules of this plan: filter, then nat.
fn tables(plan: &Plan) -> [TableRules; 2] {
    let Plan { family, node, .. } = plan;
    let mut filter = TableRules::with_capacity(Table::Filter, 4096);
    fixed::declare_filter(&mut filter, node, *family);
    for service in plan.services.values() {
        dispatch::write_filter(&mut filter.rules, service);
    }
    fixed::write_filter(&mut filter.rules, node, *family);

    let chains: Vec<_> = plan.services.values().map(|service| ServiceChains::new(service)).collect();
    let mut nat = TableRules::with_capacity(Table::Nat, estimated_bytes(plan));
    fixed::declare_nat(&mut nat);
    nat.chains.extend(chains.iter().flat_map(ServiceChains::names).copied().map(Chain::OfService));
    fixed::write_masquerade(&mut nat.rules, node);
    let large = is_large_cluster(plan);
    for (service, chains) in plan.services.values().zip(&chains) {
        dispatch::write_nat(&mut nat.rules, service, node, *family);
        chains.write(&mut nat.rules, service, node, large);
    }
    fixed::write_node_port_tail(&mut nat.rules, node, *family);
    [filter, nat]
}

/// Approximate length of the nat rules, to avoid reallocation.
fn estimated_bytes(plan: &Plan) -> usize {
    const BYTES_PER_SERVICE: usize = 600;
    const BYTES_PER_ENDPOINT: usize = 500;
    4096 + plan.services.len() * BYTES_PER_SERVICE + plan.endpoint_count * BYTES_PER_ENDPOINT
}
