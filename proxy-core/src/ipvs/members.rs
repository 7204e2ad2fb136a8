//! What one service port puts into sets.

use std::net::IpAddr;

use super::set_table::{Member, SetId, Socket};
use crate::objects::{Protocol, TrafficPolicy};
use crate::plan::{External, IpvsNode, ServicePlan};

/// Calls `visit` with every member that a service port puts into a set; a member may come twice.
///
/// kube-proxy: `syncProxyRules`, pkg/proxy/ipvs/proxier.go.
pub(super) fn members(service: &ServicePlan, node: &IpvsNode, visit: &mut impl FnMut(SetId, Member)) {
    let protocol = service.name.protocol();
    // Masquerades the connection of an endpoint to itself, whatever the endpoint's condition.
    for endpoint in service.endpoints.iter().filter(|endpoint| endpoint.is_local) {
        let socket = Socket { address: endpoint.address, protocol, port: endpoint.port };
        visit(SetId::LoopBack, Member::SocketAndSource(socket, endpoint.address));
    }
    visit(SetId::ClusterIp, Member::Socket(frontend(service, service.cluster_ip)));
    // Bound even if the node has the address elsewhere.
    visit(SetId::IpvsIps, Member::Address(service.cluster_ip));
    if let Some(external) = &service.external {
        external_members(service, external, node, visit);
    }
    // kube-proxy leaves the Service at the NodePort if the node has no address for it.
    let is_left = node_port(service).is_some() && node.node_port_addresses.is_empty();
    if let Some(port) = service.health_check_node_port.filter(|_| !is_left) {
        visit(SetId::HealthCheckNodePort, Member::Port(port));
    }
}

/// Load balancer addresses of a service port that must not be used from the node itself, because its source ranges do
/// not contain the node's address.
///
/// For the node's own packets IPVS chooses the endpoint in OUTPUT, so they never meet the firewall in INPUT. Their source
/// is the VIP, which is an address of the node. kubernetes#119656.
pub(super) fn closed_to_the_node(service: &ServicePlan) -> impl Iterator<Item = Socket> {
    let external = service.external.as_ref();
    let closed =
        external.filter(|external| external.source_ranges.as_ref().is_some_and(|ranges| !ranges.admits_vips));
    let vips = closed.into_iter().flat_map(|external| &external.load_balancer_vips);
    vips.map(|vip| frontend(service, *vip))
}

fn node_port(service: &ServicePlan) -> Option<u16> {
    service.external.as_ref().and_then(|external| external.node_port)
}

fn frontend(service: &ServicePlan, address: IpAddr) -> Socket {
    Socket { address, protocol: service.name.protocol(), port: service.port }
}

fn external_members(
    service: &ServicePlan,
    external: &External,
    node: &IpvsNode,
    visit: &mut impl FnMut(SetId, Member),
) {
    let is_local = external.policy == TrafficPolicy::Local;
    for vip in &external.external_ips {
        let set = if is_local { SetId::ExternalIpLocal } else { SetId::ExternalIp };
        visit(set, Member::Socket(frontend(service, *vip)));
    }
    for vip in &external.load_balancer_vips {
        let socket = frontend(service, *vip);
        visit(SetId::LoadBalancer, Member::Socket(socket));
        if is_local {
            visit(SetId::LoadBalancerLocal, Member::Socket(socket));
        }
        if let Some(sources) = &external.source_ranges {
            visit(SetId::LoadBalancerFw, Member::Socket(socket));
            for range in &sources.ranges {
                visit(SetId::LoadBalancerSourceCidr, Member::SocketAndNet(socket, *range));
            }
            if sources.admits_vips {
                visit(SetId::LoadBalancerSourceIp, Member::SocketAndSource(socket, *vip));
            }
        }
    }
    for vip in external.external_ips.iter().chain(&external.load_balancer_vips) {
        if node.local_addresses.binary_search(vip).is_err() {
            visit(SetId::IpvsIps, Member::Address(*vip));
        }
    }
    if let Some(port) = external.node_port {
        node_port_members(service.name.protocol(), port, is_local, node, visit);
    }
}

fn node_port_members(
    protocol: Protocol,
    port: u16,
    is_local: bool,
    node: &IpvsNode,
    visit: &mut impl FnMut(SetId, Member),
) {
    let (all, local) = match protocol {
        Protocol::Tcp => (SetId::NodePortTcp, SetId::NodePortLocalTcp),
        Protocol::Udp => (SetId::NodePortUdp, SetId::NodePortLocalUdp),
        Protocol::Sctp => (SetId::NodePortSctp, SetId::NodePortLocalSctp),
    };
    let mut add = |member: Member| {
        visit(all, member);
        if is_local {
            visit(local, member);
        }
    };
    match protocol {
        Protocol::Tcp | Protocol::Udp if node.node_port_addresses.is_empty() => {}
        Protocol::Tcp | Protocol::Udp => add(Member::Port(port)),
        Protocol::Sctp => {
            for address in &node.node_port_addresses {
                add(Member::Socket(Socket { address: *address, protocol, port }));
            }
        }
    }
}
