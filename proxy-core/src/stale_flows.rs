//! Finds conntrack entries to delete when the endpoints of UDP Services change.
//!
//! Conntrack cannot see the end of a UDP flow: while the client keeps sending, the entry stays, and with it an endpoint
//! that may be gone. TCP and SCTP entries are left alone: their peers notice.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::endpoint::Endpoint;
use crate::objects::{IpFamily, Protocol};
use crate::plan::{Plan, PlanChange, ServicePlan};

/// Cleanup of conntrack entries after a sync.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FlowCleanup {
    /// Nothing.
    None,
    /// Delete these entries in order (v1.31).
    Delete(Vec<FlowDeletion>),
    /// Scan all UDP entries of the family and delete those for which [`Frontends::is_stale`] is true.
    Reconcile(Reconciliation),
}

/// UDP entries that one command deletes. A command that finds no entry fails harmlessly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlowDeletion {
    /// The family of the entries.
    pub family: IpFamily,
    /// What clients addressed.
    pub destination: FlowDestination,
    /// Only entries that DNAT to this address.
    pub endpoint: Option<IpAddr>,
}

/// The original destination of UDP entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlowDestination {
    /// This address, with any port.
    Address(IpAddr),
    /// This port, of any address.
    Port(u16),
}

impl FlowDeletion {
    /// The command: `conntrack -D --orig-dst 10.96.0.1 -p udp`.
    ///
    /// kube-proxy v1.31: `ClearEntriesForIP`, `ClearEntriesForPort`, `ClearEntriesForNAT`,
    /// `ClearEntriesForPortNAT`, pkg/proxy/conntrack/conntrack.go.
    pub fn command(&self) -> String {
        let endpoint = self.endpoint.map(|endpoint| format!(" --dst-nat {endpoint}")).unwrap_or_default();
        let family = match self.family {
            IpFamily::V4 => "",
            IpFamily::V6 => " -f ipv6",
        };
        match self.destination {
            FlowDestination::Address(address) => {
                format!("conntrack -D --orig-dst {address}{endpoint} -p udp{family}")
            }
            FlowDestination::Port(port) => format!("conntrack -D -p udp --dport {port}{endpoint}{family}"),
        }
    }
}

/// A pending scan of the conntrack table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reconciliation {
    /// Removed UDP service ports: all their entries are stale.
    deleted: Vec<Arc<ServicePlan>>,
}

impl Reconciliation {
    /// The criteria for entries; `after` is the plan after the sync.
    pub fn frontends(&self, after: &Plan) -> Frontends {
        Frontends::new(after, &self.deleted)
    }
}

impl FlowCleanup {
    /// What kube-proxy does after a sync that changed its plan to `after`.
    pub fn after(after: &Plan, change: &PlanChange) -> Self {
        if !after.node.reconciles_conntrack {
            let deletions = deletions(after.family, change);
            return if deletions.is_empty() { Self::None } else { Self::Delete(deletions) };
        }
        let udp = || change.services.iter().filter(|service| service.name.protocol() == Protocol::Udp);
        let deleted: Vec<_> = udp()
            .filter(|service| service.after.is_none())
            .filter_map(|service| service.before.clone())
            .collect();
        // kube-proxy: `ConntrackCleanupRequired`, pkg/proxy/endpointschangetracker.go.
        let endpoints_changed =
            udp().any(|service| endpoints(service.before.as_deref()) != endpoints(service.after.as_deref()));
        let is_due = endpoints_changed || !deleted.is_empty();
        if is_due { Self::Reconcile(Reconciliation { deleted }) } else { Self::None }
    }
}

/// The relevant part of a UDP conntrack entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UdpFlow {
    /// Destination of the original direction, as addressed by the client.
    pub original_destination: SocketAddr,
    /// Source of the reply direction; equal to the destination if it was not translated.
    pub reply_source: SocketAddr,
}

/// Addresses and ports of UDP Services, with the endpoints that may reply.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frontends {
    by_address: BTreeMap<SocketAddr, BTreeSet<SocketAddr>>,
    by_node_port: BTreeMap<u16, BTreeSet<SocketAddr>>,
}

impl Frontends {
    /// From a plan, and the removed service ports.
    ///
    /// kube-proxy: `CleanStaleEntries`, pkg/proxy/conntrack/cleanup.go. All serving endpoints may reply, regardless of
    /// traffic policies, hints and termination: ongoing flows are not disturbed.
    fn new(after: &Plan, deleted: &[Arc<ServicePlan>]) -> Self {
        let mut frontends = Self::default();
        // Removed ones first: an address that an existing Service has taken over belongs to that Service.
        for service in deleted {
            frontends.add(service, BTreeSet::new());
        }
        for service in after.services.values() {
            let serving = service.endpoints.iter().filter(|endpoint| endpoint.is_serving);
            frontends.add(service, serving.map(socket).collect());
        }
        frontends
    }

    /// True if the entry leads to an address where no serving endpoint replies.
    pub fn is_stale(&self, flow: &UdpFlow) -> bool {
        let destination = flow.original_destination;
        let misses = |endpoints: &BTreeSet<SocketAddr>| !endpoints.contains(&flow.reply_source);
        self.by_address.get(&destination).is_some_and(misses)
            || self.by_node_port.get(&destination.port()).is_some_and(misses)
    }

    fn add(&mut self, service: &ServicePlan, endpoints: BTreeSet<SocketAddr>) {
        if service.name.protocol() != Protocol::Udp {
            return;
        }
        for vip in vips(service) {
            self.by_address.insert(SocketAddr::new(vip, service.port), endpoints.clone());
        }
        // NodePorts are looked up by number alone: without endpoints, unrelated flows to the same port number elsewhere
        // would be deleted.
        if let Some(port) = node_port(service).filter(|_| !endpoints.is_empty()) {
            self.by_node_port.insert(port, endpoints);
        }
    }
}

/// The deletions of kube-proxy v1.31: for Services that were removed or had no endpoints, then for removed endpoints.
///
/// kube-proxy v1.31: `deleteStaleServiceConntrackEntries`, `deleteStaleEndpointConntrackEntries`,
/// pkg/proxy/conntrack/cleanup.go; `detectStaleConntrackEntries`, pkg/proxy/endpointschangetracker.go.
fn deletions(family: IpFamily, change: &PlanChange) -> Vec<FlowDeletion> {
    use FlowDestination::{Address, Port};
    let mut addresses = BTreeSet::new();
    let mut ports = BTreeSet::new();
    let mut of_endpoints = Vec::new();
    for service in change.services.iter().filter(|service| service.name.protocol() == Protocol::Udp) {
        let before = service.before.as_deref();
        let Some(after) = service.after.as_deref() else {
            addresses.extend(before.map(|plan| plan.cluster_ip));
            continue;
        };
        let serves = |plan: &ServicePlan| plan.endpoints.iter().any(|endpoint| endpoint.is_serving);
        if serves(after) && !before.is_some_and(serves) {
            addresses.extend(vips(after));
            ports.extend(node_port(after));
        }
        let gone = before.into_iter().flat_map(|plan| &plan.endpoints).filter(|endpoint| {
            endpoint.is_serving && !after.endpoints.iter().any(|other| other.text == endpoint.text)
        });
        for Endpoint { address, .. } in gone {
            let destinations = node_port(after).map(Port).into_iter().chain(vips(after).map(Address));
            of_endpoints.extend(destinations.map(|destination| (destination, Some(*address))));
        }
    }
    let addresses = addresses.into_iter().map(|address| (Address(address), None));
    let ports = ports.into_iter().map(|port| (Port(port), None));
    let all = addresses.chain(ports).chain(of_endpoints);
    all.map(|(destination, endpoint)| FlowDeletion { family, destination, endpoint }).collect()
}

fn endpoints(service: Option<&ServicePlan>) -> &[Endpoint] {
    service.map_or(&[], |plan| &plan.endpoints)
}

fn vips(service: &ServicePlan) -> impl Iterator<Item = IpAddr> {
    let external = service.external.iter();
    let others =
        external.flat_map(|external| external.external_ips.iter().chain(&external.load_balancer_vips));
    std::iter::once(service.cluster_ip).chain(others.copied())
}

fn node_port(service: &ServicePlan) -> Option<u16> {
    service.external.as_ref().and_then(|external| external.node_port)
}

fn socket(endpoint: &Endpoint) -> SocketAddr {
    SocketAddr::new(endpoint.address, endpoint.port)
}
