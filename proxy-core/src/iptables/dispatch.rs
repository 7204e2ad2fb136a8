//! Rules of one service port in the chains that all Services share.

use std::net::IpAddr;

use super::Lines;
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

impl Dispatch {
    /// Bytes of text.
    pub(crate) fn len(&self) -> usize {
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
        for ip in &external.external_ips {
            write_vip(dispatch, service, external, *ip, "external IP", hash.chain(ChainKind::External));
        }
        write_load_balancer(dispatch, service, external, hash);
        write_node_port(dispatch, service, external, hash, counts_localhost(node, family));
    }
    if let Some(port) = service.health_check_node_port {
        let name = &service.name;
        // The answer tells whether there are local endpoints; the question must get through in any case. It is HTTP,
        // hence TCP whatever the Service carries.
        dispatch.filter.push(format_args!(
            "-A KUBE-NODEPORTS -m comment --comment \"{name} health check node port\" -m tcp -p tcp --dport {port} -j ACCEPT"
        ));
    }
}

/// Whether packets to NodePorts on 127.0.0.0/8 are counted, for the users who will miss them in nftables mode.
fn counts_localhost(node: &NodePlan, family: IpFamily) -> bool {
    node.localhost_node_ports && family == IpFamily::V4 && node.has_nfacct
}

fn write_cluster_ip(dispatch: &mut Dispatch, service: &ServicePlan, hash: Hash) {
    let ServicePlan { name, cluster_ip, port, .. } = service;
    let protocol = name.protocol().lower();
    if let Treatment::Serve(set) = service.internal {
        let chain = hash.chain(chain_kind(set));
        dispatch.nat.push(format_args!(
            "-A KUBE-SERVICES -m comment --comment \"{name} cluster IP\" -m {protocol} -p {protocol} -d {cluster_ip} --dport {port} -j {chain}"
        ));
    }
    if let Some(Refusal { reason, target }) = refusal(service.internal) {
        dispatch.filter.push(format_args!(
            "-A KUBE-SERVICES -m comment --comment \"{name} {reason}\" -m {protocol} -p {protocol} -d {cluster_ip} --dport {port} -j {target}"
        ));
    }
}

fn write_vip(
    dispatch: &mut Dispatch,
    service: &ServicePlan,
    external: &External,
    ip: IpAddr,
    what: &str,
    chain: ChainName,
) {
    let ServicePlan { name, port, .. } = service;
    let protocol = name.protocol().lower();
    if service.has_endpoints() {
        dispatch.nat.push(format_args!(
            "-A KUBE-SERVICES -m comment --comment \"{name} {what}\" -m {protocol} -p {protocol} -d {ip} --dport {port} -j {chain}"
        ));
    }
    if let Some(Refusal { reason, target }) = refusal(external.treatment) {
        // Only what no short circuit took still has the VIP as destination here.
        dispatch.filter.push(format_args!(
            "-A KUBE-EXTERNAL-SERVICES -m comment --comment \"{name} {reason}\" -m {protocol} -p {protocol} -d {ip} --dport {port} -j {target}"
        ));
    }
}

fn write_load_balancer(dispatch: &mut Dispatch, service: &ServicePlan, external: &External, hash: Hash) {
    let ServicePlan { name, port, .. } = service;
    let protocol = name.protocol().lower();
    let guarded = external.source_ranges.is_some() && service.has_endpoints();
    let chain = hash.chain(if guarded { ChainKind::Firewall } else { ChainKind::External });
    for ip in &external.load_balancer_vips {
        write_vip(dispatch, service, external, *ip, "loadbalancer IP", chain);
        if guarded {
            dispatch.filter.push(format_args!(
                "-A KUBE-PROXY-FIREWALL -m comment --comment \"{name} traffic not accepted by {chain}\" -m {protocol} -p {protocol} -d {ip} --dport {port} -j DROP"
            ));
        }
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
    let protocol = name.protocol().lower();
    let chain = hash.chain(ChainKind::External);
    if service.has_endpoints() {
        if counts_localhost {
            dispatch.nat.push(format_args!(
                "-A KUBE-NODEPORTS -m comment --comment {name} -m {protocol} -p {protocol} -d 127.0.0.0/8 --dport {port} -m nfacct --nfacct-name localhost_nps_accepted_pkts -j {chain}"
            ));
        }
        dispatch.nat.push(format_args!(
            "-A KUBE-NODEPORTS -m comment --comment {name} -m {protocol} -p {protocol} --dport {port} -j {chain}"
        ));
    }
    if let Some(Refusal { reason, target }) = refusal(external.treatment) {
        dispatch.filter.push(format_args!(
            "-A KUBE-EXTERNAL-SERVICES -m comment --comment \"{name} {reason}\" -m addrtype --dst-type LOCAL -m {protocol} -p {protocol} --dport {port} -j {target}"
        ));
    }
}

/// Why and how traffic is refused.
struct Refusal {
    reason: &'static str,
    target: &'static str,
}

fn refusal(treatment: Treatment) -> Option<Refusal> {
    match treatment {
        Treatment::Serve(_) => None,
        Treatment::Reject => Some(Refusal { reason: "has no endpoints", target: "REJECT" }),
        Treatment::Drop => Some(Refusal { reason: "has no local endpoints", target: "DROP" }),
    }
}

/// The chain that chooses among a set of endpoints.
pub(super) fn chain_kind(set: EndpointSet) -> ChainKind {
    match set {
        EndpointSet::Cluster => ChainKind::Cluster,
        EndpointSet::Local => ChainKind::Local,
    }
}
