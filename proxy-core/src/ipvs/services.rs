//! Virtual services and their real servers, and the text for `ipvsadm --restore`.

use std::fmt::{self, Write as _};
use std::net::{IpAddr, SocketAddr};

use crate::config::Scheduler;
use crate::objects::Protocol;
use crate::plan::{EndpointSet, IpvsNode, Plan, ServicePlan, Treatment};

/// The key of a virtual service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VirtualService {
    /// The VIP, or an address of the node for a NodePort.
    pub address: IpAddr,
    /// The port.
    pub port: u16,
    /// The protocol.
    pub protocol: Protocol,
}

/// As ipvsadm names it: `-t 10.96.0.1:80`, `-u [fd00::1]:53`, `--sctp-service 10.96.0.1:132`.
impl fmt::Display for VirtualService {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let option = match self.protocol {
            Protocol::Tcp => "-t",
            Protocol::Udp => "-u",
            Protocol::Sctp => "--sctp-service",
        };
        write!(formatter, "{option} {}", SocketAddr::new(self.address, self.port))
    }
}

/// What a service port wants of a virtual service: to send it to a set of its endpoints.
#[derive(Debug, Clone, Copy)]
pub(super) struct Offer<'a> {
    pub(super) service: VirtualService,
    pub(super) plan: &'a ServicePlan,
    set: EndpointSet,
}

impl<'a> Offer<'a> {
    /// The real servers as `ip:port` or `[ip]:port`, sorted.
    pub(super) fn servers(&self) -> impl ExactSizeIterator<Item = &'a str> {
        self.plan.endpoints_in(self.set).map(|endpoint| &*endpoint.text)
    }
}

/// Calls `visit` with every virtual service that a service port wants, in kube-proxy's order.
///
/// kube-proxy: `syncProxyRules`, pkg/proxy/ipvs/proxier.go.
pub(super) fn offers<'a>(plan: &'a ServicePlan, node: &IpvsNode, visit: &mut impl FnMut(Offer<'a>)) {
    let protocol = plan.name.protocol();
    let mut offer = |address: IpAddr, port: u16, treatment: Treatment| {
        let service = VirtualService { address, port, protocol };
        visit(Offer { service, plan, set: served_by(treatment) });
    };
    offer(plan.cluster_ip, plan.port, plan.internal);
    let Some(external) = &plan.external else { return };
    for vip in external.external_ips.iter().chain(&external.load_balancer_vips) {
        offer(*vip, plan.port, external.treatment);
    }
    if let Some(port) = external.node_port {
        for address in &node.node_port_addresses {
            offer(*address, port, external.treatment);
        }
    }
}

/// IPVS has no verdict per service: without endpoints, a virtual service has no servers, and IPVS itself refuses. Where
/// iptables mode drops, because only other nodes have endpoints, those endpoints serve.
///
/// kube-proxy: `syncEndpoint`, pkg/proxy/ipvs/proxier.go; kubernetes#97081.
fn served_by(treatment: Treatment) -> EndpointSet {
    match treatment {
        Treatment::Serve(set) => set,
        Treatment::Reject | Treatment::Drop => EndpointSet::Cluster,
    }
}

/// What a virtual service looks like to connections: `-s SCHEDULER`, persistence, flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Scheduling {
    pub(super) scheduler: Scheduler,
    /// Clients keep their server for this many seconds after their last connection.
    pub(super) persistence: Option<u32>,
}

impl fmt::Display for Scheduling {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "-s {}", self.scheduler)?;
        if let Some(seconds) = self.persistence {
            write!(formatter, " -p {seconds}")?;
        }
        self.scheduler.flags().map_or(Ok(()), |flags| write!(formatter, " -b {flags}"))
    }
}

/// Writes `-A SERVICE SCHEDULING` (or `-E`). `service` is the printed key.
pub(super) fn write_service(text: &mut String, command: &str, service: &str, scheduling: Scheduling) {
    writeln!(text, "{command} {service} {scheduling}").expect("writing to a String does not fail");
}

/// Writes the line that adds a real server. kube-proxy masquerades always (`-m`): it is the only method that translates
/// ports. All weights are 1.
pub(super) fn write_added_server(text: &mut String, service: &str, server: &str) {
    text.extend(["-a ", service, " -r ", server, " -m -w 1\n"]);
}

/// Input of `ipvsadm --restore` for a node without virtual services.
pub(super) fn restore(plan: &Plan) -> String {
    const BYTES_PER_SERVER: usize = 64;
    let node = &plan.node.ipvs;
    let mut wanted = Vec::with_capacity(plan.services.len());
    for service in plan.services.values() {
        offers(service, node, &mut |offer| wanted.push(offer));
    }
    // Stable: of service ports that want the same virtual service, the last one counts.
    wanted.sort_by_key(|offer| offer.service);
    let lines: usize = wanted.iter().map(|offer| 1 + offer.servers().len()).sum();
    let mut text = String::with_capacity(lines * BYTES_PER_SERVER);
    write_timeouts(&mut text, node);
    for same in wanted.chunk_by(|left, right| left.service == right.service) {
        let [.., offer] = same else { continue };
        let service = offer.service.to_string();
        let persistence = offer.plan.affinity_seconds;
        write_service(&mut text, "-A", &service, Scheduling { scheduler: node.scheduler, persistence });
        for server in offer.servers() {
            write_added_server(&mut text, &service, server);
        }
    }
    text
}

/// Writes `--set TCP TCPFIN UDP`, which kube-proxy does at start if one of them is configured.
pub(super) fn write_timeouts(text: &mut String, node: &IpvsNode) {
    let timeouts = node.timeouts;
    if timeouts.are_set() {
        writeln!(text, "--set {} {} {}", timeouts.tcp, timeouts.tcp_fin, timeouts.udp)
            .expect("writing to a String does not fail");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_print_as_ipvsadm_saves_them() {
        let services = [
            ("10.96.0.1", 80, Protocol::Tcp, "-t 10.96.0.1:80"),
            ("fd00::1", 53, Protocol::Udp, "-u [fd00::1]:53"),
            ("10.96.0.4", 132, Protocol::Sctp, "--sctp-service 10.96.0.4:132"),
        ];
        for (address, port, protocol, expected) in services {
            let service = VirtualService { address: address.parse().unwrap(), port, protocol };
            assert_eq!(service.to_string(), expected);
        }
        let schedulings = [
            (Scheduler::Rr, None, "-s rr"),
            (Scheduler::Sh, Some(10_800), "-s sh -p 10800"),
            (Scheduler::Mh, Some(60), "-s mh -p 60 -b mh-port"),
        ];
        for (scheduler, persistence, expected) in schedulings {
            assert_eq!(Scheduling { scheduler, persistence }.to_string(), expected);
        }
    }
}
