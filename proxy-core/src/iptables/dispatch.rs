//! Rules of one service port in the shared chains.

use std::net::IpAddr;

use super::chain_name::{ChainKind, Hash};
use super::matches::{Layer4, ToVip};
use super::rules::Rules;
use crate::load::Table;
use crate::objects::{IpFamily, Protocol};
use crate::plan::{EndpointSet, External, NodePlan, Plan, ServicePlan, Treatment};

/// A chain that holds rules of many Services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SharedChain {
    /// ClusterIPs without endpoints.
    FilterServices,
    /// Other VIPs and NodePorts without endpoints.
    FilterExternalServices,
    /// Ports for load balancer health checks.
    FilterNodePorts,
    /// Load balancer addresses with source ranges.
    FilterProxyFirewall,
    /// VIPs.
    NatServices,
    /// NodePorts.
    NatNodePorts,
}

impl SharedChain {
    /// All chains, in index order.
    pub(crate) const ALL: [Self; 6] = [
        Self::FilterServices,
        Self::FilterExternalServices,
        Self::FilterNodePorts,
        Self::FilterProxyFirewall,
        Self::NatServices,
        Self::NatNodePorts,
    ];

    /// The table.
    pub(crate) fn table(self) -> Table {
        match self {
            Self::FilterServices
            | Self::FilterExternalServices
            | Self::FilterNodePorts
            | Self::FilterProxyFirewall => Table::Filter,
            Self::NatServices | Self::NatNodePorts => Table::Nat,
        }
    }

    /// The name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::FilterServices | Self::NatServices => "KUBE-SERVICES",
            Self::FilterExternalServices => "KUBE-EXTERNAL-SERVICES",
            Self::FilterNodePorts | Self::NatNodePorts => "KUBE-NODEPORTS",
            Self::FilterProxyFirewall => "KUBE-PROXY-FIREWALL",
        }
    }
}

/// The rules of one service port in the shared chains.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Dispatch {
    filter: Rules,
    nat: Rules,
}

impl Dispatch {
    /// The rules in one chain, without `-A CHAIN`.
    pub(crate) fn rules(&self, chain: SharedChain) -> impl Iterator<Item = &str> {
        let rules = match chain.table() {
            Table::Filter => &self.filter,
            Table::Nat => &self.nat,
        };
        rules.iter().filter(move |line| line.chain == chain.name()).map(|line| line.rule)
    }
}

/// The rules of a service port in shared chains; none for an absent service port.
pub(crate) fn dispatch(service: Option<&ServicePlan>, plan: &Plan) -> Dispatch {
    let mut dispatch = Dispatch::default();
    if let Some(service) = service {
        write_filter(&mut dispatch.filter, service);
        write_nat(&mut dispatch.nat, service, &plan.node, plan.family);
    }
    dispatch
}

/// The number of rules of a service port in each shared chain, without generating them.
pub(crate) fn count_dispatch(
    service: &ServicePlan,
    node: &NodePlan,
    family: IpFamily,
) -> [usize; SharedChain::ALL.len()] {
    let mut counts = [0; SharedChain::ALL.len()];
    let mut count = |chain: SharedChain, rules: usize| counts[chain as usize] += rules;
    match service.internal {
        Treatment::Serve(_) => count(SharedChain::NatServices, 1),
        Treatment::Reject | Treatment::Drop => count(SharedChain::FilterServices, 1),
    }
    if let Some(external) = &service.external {
        let vips = external.external_ips.len() + external.load_balancer_vips.len();
        let node_ports = usize::from(external.node_port.is_some());
        if service.has_endpoints() {
            count(SharedChain::NatServices, vips);
            count(SharedChain::NatNodePorts, node_ports * (1 + usize::from(counts_localhost(node, family))));
        }
        if is_guarded(service, external) {
            count(SharedChain::FilterProxyFirewall, external.load_balancer_vips.len());
        }
        if refusal(external.treatment).is_some() {
            count(SharedChain::FilterExternalServices, vips + node_ports);
        }
    }
    count(SharedChain::FilterNodePorts, usize::from(service.health_check_node_port.is_some()));
    counts
}

/// Writes the rules of one service port in the shared chains of the filter table. Packets that the nat table translated
/// no longer have the VIP as destination, so these rules match untranslated packets.
pub(super) fn write_filter(filter: &mut Rules, service: &ServicePlan) {
    write_refused_vip(filter, "KUBE-SERVICES", service, service.internal, service.cluster_ip);
    if let Some(external) = &service.external {
        for vip in external.external_ips.iter().chain(&external.load_balancer_vips) {
            write_refused_vip(filter, "KUBE-EXTERNAL-SERVICES", service, external.treatment, *vip);
        }
        write_refused_node_port(filter, service, external);
        if is_guarded(service, external) {
            let firewall = Hash::of_service_port(&service.name).chain(ChainKind::Firewall);
            let what = format!("traffic not accepted by {firewall}");
            for vip in external.load_balancer_vips.iter().copied() {
                let to = ToVip { service, vip, what: &what };
                filter.push("KUBE-PROXY-FIREWALL", format_args!("{to} -j DROP"));
            }
        }
    }
    if let Some(port) = service.health_check_node_port {
        // The response reports whether there are local endpoints, so the request must always be accepted. It is HTTP,
        // hence TCP whatever the Service's protocol.
        let comment = format!("-m comment --comment \"{} health check node port\"", service.name);
        let tcp = Layer4(Protocol::Tcp);
        filter.push("KUBE-NODEPORTS", format_args!("{comment} {tcp} --dport {port} -j ACCEPT"));
    }
}

/// Writes the rules of one service port in the shared chains of the nat table.
pub(super) fn write_nat(nat: &mut Rules, service: &ServicePlan, node: &NodePlan, family: IpFamily) {
    let hash = Hash::of_service_port(&service.name);
    let mut write = |vip: IpAddr, what: &str, kind: ChainKind| {
        let to = ToVip { service, vip, what };
        nat.push("KUBE-SERVICES", format_args!("{to} -j {}", hash.chain(kind)));
    };
    if let Treatment::Serve(set) = service.internal {
        write(service.cluster_ip, "cluster IP", chain_kind(set));
    }
    let Some(external) = service.external.as_ref().filter(|_| service.has_endpoints()) else { return };
    for vip in &external.external_ips {
        write(*vip, "external IP", ChainKind::External);
    }
    let guard = if is_guarded(service, external) { ChainKind::Firewall } else { ChainKind::External };
    for vip in &external.load_balancer_vips {
        write(*vip, "loadbalancer IP", guard);
    }
    let Some(port) = external.node_port else { return };
    // NodePorts are not subject to source ranges.
    let head = format!("-m comment --comment {} {}", service.name, Layer4(service.name.protocol()));
    let chain = hash.chain(ChainKind::External);
    if counts_localhost(node, family) {
        let counter = "-m nfacct --nfacct-name localhost_nps_accepted_pkts";
        nat.push("KUBE-NODEPORTS", format_args!("{head} -d 127.0.0.0/8 --dport {port} {counter} -j {chain}"));
    }
    nat.push("KUBE-NODEPORTS", format_args!("{head} --dport {port} -j {chain}"));
}

/// True if packets to NodePorts on 127.0.0.0/8 are counted. The counter shows users whether they depend on a feature
/// that nftables mode lacks.
fn counts_localhost(node: &NodePlan, family: IpFamily) -> bool {
    node.localhost_node_ports && family == IpFamily::V4 && node.has_nfacct
}

/// True if load balancer addresses are restricted by source ranges. Without endpoints all sources are rejected anyway.
fn is_guarded(service: &ServicePlan, external: &External) -> bool {
    external.source_ranges.is_some() && service.has_endpoints()
}

fn write_refused_vip(
    filter: &mut Rules,
    chain: &str,
    service: &ServicePlan,
    treatment: Treatment,
    vip: IpAddr,
) {
    if let Some((what, target)) = refusal(treatment) {
        filter.push(chain, format_args!("{} -j {target}", ToVip { service, vip, what }));
    }
}

/// Matches every local address, even those that do not accept NodePort traffic.
fn write_refused_node_port(filter: &mut Rules, service: &ServicePlan, external: &External) {
    if let (Some(port), Some((what, target))) = (external.node_port, refusal(external.treatment)) {
        let name = &service.name;
        let comment = format!("-m comment --comment \"{name} {what}\"");
        let to = format!("-m addrtype --dst-type LOCAL {} --dport {port}", Layer4(name.protocol()));
        filter.push("KUBE-EXTERNAL-SERVICES", format_args!("{comment} {to} -j {target}"));
    }
}

/// Why and how traffic is refused, if at all.
fn refusal(treatment: Treatment) -> Option<(&'static str, &'static str)> {
    match treatment {
        Treatment::Serve(_) => None,
        Treatment::Reject => Some(("has no endpoints", "REJECT")),
        Treatment::Drop => Some(("has no local endpoints", "DROP")),
    }
}

/// The chain that balances over a set of endpoints.
pub(super) fn chain_kind(set: EndpointSet) -> ChainKind {
    match set {
        EndpointSet::Cluster => ChainKind::Cluster,
        EndpointSet::Local => ChainKind::Local,
    }
}
