//! Rules of one service port in the chains that all Services share.

use std::net::IpAddr;

use super::matches::{Layer4, ToVip};
use super::{Lines, Table};
use crate::names::{ChainKind, ChainName, Hash};
use crate::objects::IpFamily;
use crate::plan::{EndpointSet, External, NodePlan, ServicePlan, Treatment};

/// Rules in shared chains, per table, in the order of writing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Dispatch {
    /// Of the filter table.
    pub(crate) filter: Lines,
    /// Of the nat table.
    pub(crate) nat: Lines,
}

/// A chain that holds rules of many Services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SharedChain {
    /// ClusterIPs that nothing serves.
    FilterServices,
    /// Other VIPs and NodePorts that nothing serves.
    FilterExternalServices,
    /// Ports for health checks of load balancers.
    FilterNodePorts,
    /// Load balancer addresses that have source ranges.
    FilterProxyFirewall,
    /// VIPs.
    NatServices,
    /// NodePorts.
    NatNodePorts,
}

impl SharedChain {
    /// All, in the order of their numbers.
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

impl Dispatch {
    /// The rules in one chain, without the words that append them.
    pub(crate) fn rules(&self, chain: SharedChain) -> impl Iterator<Item = &str> {
        let lines = match chain.table() {
            Table::Filter => &self.filter,
            Table::Nat => &self.nat,
        };
        let appended = lines.as_str().lines().filter_map(|line| line.strip_prefix("-A "));
        appended.filter_map(move |line| line.strip_prefix(chain.name())?.strip_prefix(' '))
    }

    /// Bytes of text.
    pub(super) fn len(&self) -> usize {
        self.filter.as_str().len() + self.nat.as_str().len()
    }
}

/// Writes the rules of one service port in the chains that all Services share.
pub(crate) fn write_dispatch(
    dispatch: &mut Dispatch,
    service: &ServicePlan,
    node: &NodePlan,
    family: IpFamily,
) {
    let hash = Hash::of_service_port(&service.name);
    write_cluster_ip(dispatch, service, hash);
    if let Some(external) = &service.external {
        let to = Refused { service, treatment: external.treatment };
        write_external_ips(dispatch, service, external, &to, hash);
        write_load_balancer(dispatch, service, external, &to, hash);
        write_node_port(dispatch, service, external, hash, counts_localhost(node, family));
    }
    if let Some(port) = service.health_check_node_port {
        let name = &service.name;
        // The answer tells whether there are local endpoints; the question must get through in any case. It is HTTP,
        // hence TCP whatever the Service carries.
        let tcp = Layer4(crate::objects::Protocol::Tcp);
        dispatch.filter.push(format_args!(
            "-A KUBE-NODEPORTS -m comment --comment \"{name} health check node port\" {tcp} --dport {port} -j ACCEPT"
        ));
    }
}

/// How many rules [`write_dispatch`] writes in each shared chain, without writing them.
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
        if service.has_endpoints() && external.source_ranges.is_some() {
            count(SharedChain::FilterProxyFirewall, external.load_balancer_vips.len());
        }
        if refusal(external.treatment).is_some() {
            count(SharedChain::FilterExternalServices, vips + node_ports);
        }
    }
    count(SharedChain::FilterNodePorts, usize::from(service.health_check_node_port.is_some()));
    counts
}

/// Whether packets to NodePorts on 127.0.0.0/8 are counted, for the users who will miss them in nftables mode.
fn counts_localhost(node: &NodePlan, family: IpFamily) -> bool {
    node.localhost_node_ports && family == IpFamily::V4 && node.has_nfacct
}

fn write_cluster_ip(dispatch: &mut Dispatch, service: &ServicePlan, hash: Hash) {
    let vip = service.cluster_ip;
    match service.internal {
        Treatment::Serve(set) => {
            let to = ToVip { service, vip, what: "cluster IP" };
            dispatch.nat.push(format_args!("-A KUBE-SERVICES {to} -j {}", hash.chain(chain_kind(set))));
        }
        Treatment::Reject | Treatment::Drop => {
            let refused = Refused { service, treatment: service.internal };
            refused.write_vip(&mut dispatch.filter, "KUBE-SERVICES", vip);
        }
    }
}

fn write_external_ips(
    dispatch: &mut Dispatch,
    service: &ServicePlan,
    external: &External,
    refused: &Refused<'_>,
    hash: Hash,
) {
    for vip in &external.external_ips {
        let to = ToVip { service, vip: *vip, what: "external IP" };
        write_vip(&mut dispatch.nat, &to, hash.chain(ChainKind::External));
        refused.write_vip(&mut dispatch.filter, "KUBE-EXTERNAL-SERVICES", *vip);
    }
}

fn write_load_balancer(
    dispatch: &mut Dispatch,
    service: &ServicePlan,
    external: &External,
    refused: &Refused<'_>,
    hash: Hash,
) {
    let is_guarded = external.source_ranges.is_some() && service.has_endpoints();
    let chain = hash.chain(if is_guarded { ChainKind::Firewall } else { ChainKind::External });
    let not_accepted = format!("traffic not accepted by {chain}");
    for vip in external.load_balancer_vips.iter().copied() {
        write_vip(&mut dispatch.nat, &ToVip { service, vip, what: "loadbalancer IP" }, chain);
        if is_guarded {
            let to = ToVip { service, vip, what: &not_accepted };
            dispatch.filter.push(format_args!("-A KUBE-PROXY-FIREWALL {to} -j DROP"));
        }
        refused.write_vip(&mut dispatch.filter, "KUBE-EXTERNAL-SERVICES", vip);
    }
}

fn write_vip(nat: &mut Lines, to: &ToVip<'_>, chain: ChainName) {
    if to.service.has_endpoints() {
        nat.push(format_args!("-A KUBE-SERVICES {to} -j {chain}"));
    }
}

fn write_node_port(
    dispatch: &mut Dispatch,
    service: &ServicePlan,
    external: &External,
    hash: Hash,
    counts_localhost: bool,
) {
    let Some(port) = external.node_port else { return };
    let name = &service.name;
    let layer4 = Layer4(name.protocol());
    let chain = hash.chain(ChainKind::External);
    if service.has_endpoints() {
        let head = format!("-A KUBE-NODEPORTS -m comment --comment {name} {layer4}");
        if counts_localhost {
            let counter = "-m nfacct --nfacct-name localhost_nps_accepted_pkts";
            dispatch.nat.push(format_args!("{head} -d 127.0.0.0/8 --dport {port} {counter} -j {chain}"));
        }
        dispatch.nat.push(format_args!("{head} --dport {port} -j {chain}"));
    }
    if let Some((reason, target)) = refusal(external.treatment) {
        // For every local address, even those that take no NodePort traffic.
        let head =
            format_args!("-A KUBE-EXTERNAL-SERVICES -m comment --comment \"{name} {reason}\"").to_string();
        dispatch
            .filter
            .push(format_args!("{head} -m addrtype --dst-type LOCAL {layer4} --dport {port} -j {target}"));
    }
}

/// Traffic that nothing serves. In the filter table, only what no short circuit took still has the VIP as destination.
struct Refused<'a> {
    service: &'a ServicePlan,
    treatment: Treatment,
}

impl Refused<'_> {
    fn write_vip(&self, filter: &mut Lines, chain: &str, vip: IpAddr) {
        if let Some((what, target)) = refusal(self.treatment) {
            let to = ToVip { service: self.service, vip, what };
            filter.push(format_args!("-A {chain} {to} -j {target}"));
        }
    }
}

/// Why and how traffic is refused, if it is.
fn refusal(treatment: Treatment) -> Option<(&'static str, &'static str)> {
    match treatment {
        Treatment::Serve(_) => None,
        Treatment::Reject => Some(("has no endpoints", "REJECT")),
        Treatment::Drop => Some(("has no local endpoints", "DROP")),
    }
}

/// The chain that chooses among a set of endpoints.
pub(super) fn chain_kind(set: EndpointSet) -> ChainKind {
    match set {
        EndpointSet::Cluster => ChainKind::Cluster,
        EndpointSet::Local => ChainKind::Local,
    }
}
