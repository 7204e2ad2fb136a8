//! How a node handles Service traffic, independent of the proxy mode.
//!
//! Every decision of kube-proxy is made here, once: which endpoints serve which VIP, what is masqueraded, what is
//! rejected or dropped. The proxy modes only print it.

mod ipvs_node;

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use crate::address::{family_of, family_of_net};
use crate::config::{LocalTraffic, NodeConfig, NodePortAddress};
use crate::endpoint::{Endpoint, endpoints_of_port};
use crate::names::{ServiceName, ServicePortName};
use crate::objects::{IpFamily, TrafficPolicy};
use crate::service_port::ServicePort;
use crate::service_store::{ServiceState, ServiceStore};
use crate::traffic_policy::{Categories, Question, categorize};

pub use ipvs_node::IpvsNode;

/// The plan of one node for one address family. kube-proxy runs one independent proxier per family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The family.
    pub family: IpFamily,
    /// The part independent of Services.
    pub node: NodePlan,
    /// The plans of all service ports, ordered by name.
    pub services: BTreeMap<ServicePortName, Arc<ServicePlan>>,
    /// Number of endpoints of all service ports, in any condition.
    pub endpoint_count: usize,
}

/// The part of a plan independent of Services.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodePlan {
    /// The node's primary address.
    pub node_ip: IpAddr,
    /// How traffic from this node's Pods is detected; `None`: not detected.
    pub local_traffic: Option<LocalTraffic>,
    /// Masquerade condition for traffic to ClusterIPs.
    pub internal_masquerade: Masquerade,
    /// The packet mark that requests masquerade.
    pub masquerade_mark: u32,
    /// Node addresses that accept NodePort traffic.
    pub node_port_addresses: NodePortAddresses,
    /// NodePorts are reachable on 127.0.0.0/8, by `route_localnet`. Never for IPv6.
    pub localhost_node_ports: bool,
    /// Forwarded packets that conntrack marks INVALID are dropped.
    pub drops_invalid: bool,
    /// The nfacct counters exist.
    pub has_nfacct: bool,
    /// Masquerade selects ports at random.
    pub random_fully: bool,
    /// conntrack sysctls that kube-proxy sets at start, in order: name and value.
    pub conntrack_sysctls: Vec<(String, String)>,
    /// Stale conntrack entries are found by scanning the table, not from changes.
    pub reconciles_conntrack: bool,
    /// What only IPVS mode needs.
    pub ipvs: IpvsNode,
}

/// Node addresses that accept NodePort traffic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodePortAddresses {
    /// Every address that is local when a packet arrives.
    AllLocal,
    /// These addresses, determined when the plan was made; sorted.
    Only(Vec<IpAddr>),
}

/// The plan of one service port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServicePlan {
    /// The service port.
    pub name: ServicePortName,
    /// All endpoints in any condition, sorted by text.
    pub endpoints: Vec<Endpoint>,
    /// The endpoints that may serve.
    pub categories: Categories,
    /// The ClusterIP.
    pub cluster_ip: IpAddr,
    /// The port on all VIPs.
    pub port: u16,
    /// Treatment of traffic to the ClusterIP.
    pub internal: Treatment,
    /// Treatment of traffic to external IPs, load balancer addresses and the NodePort; `None` if it has none.
    pub external: Option<External>,
    /// Timeout of session affinity in seconds, if enabled.
    pub affinity_seconds: Option<u32>,
    /// The TCP port on which load balancers query for local endpoints.
    pub health_check_node_port: Option<u16>,
}

/// Treatment of traffic to a VIP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Treatment {
    /// Sent to one of these endpoints.
    Serve(EndpointSet),
    /// Rejected: the cluster has no endpoint for it.
    Reject,
    /// Dropped: other nodes have endpoints, but the traffic policy forbids using them.
    Drop,
}

/// A set of endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndpointSet {
    /// [`Categories::cluster`].
    Cluster,
    /// [`Categories::local`].
    Local,
}

/// Which traffic to a ClusterIP is masqueraded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Masquerade {
    /// None.
    Never,
    /// All of it.
    Always,
    /// Traffic that does not come from this node's Pods ([`NodePlan::local_traffic`]): its reply must return through
    /// this node.
    UnlessFromPods,
}

/// Treatment of traffic to external addresses and ports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct External {
    /// External IPs, as listed.
    pub external_ips: Vec<IpAddr>,
    /// Load balancer addresses that the node serves, as listed.
    pub load_balancer_vips: Vec<IpAddr>,
    /// The port on the node's addresses.
    pub node_port: Option<u16>,
    /// Traffic policy. With Cluster, all traffic is masqueraded. With Local, the source address is preserved, and
    /// traffic from this node's Pods and from the node itself is sent to all endpoints of the cluster, as if it had
    /// passed through a load balancer.
    pub policy: TrafficPolicy,
    /// Treatment of traffic that takes no short circuit.
    pub treatment: Treatment,
    /// Sources that may use the load balancer addresses; `None` for all. NodePorts are never restricted.
    pub source_ranges: Option<SourceRanges>,
}

/// Sources that may use the load balancer addresses of a Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceRanges {
    /// Sources, as listed.
    pub ranges: Vec<IpNet>,
    /// The load balancer addresses are admitted as sources too. This is the case if the node's own address is in a
    /// range: if the VIP is a local address, the node's own requests may have it as source.
    pub admits_vips: bool,
}

impl ServicePlan {
    /// True if the cluster has an endpoint that could serve.
    pub fn has_endpoints(&self) -> bool {
        self.categories.has_any
    }

    /// The endpoints of a set.
    pub fn endpoints_in(&self, set: EndpointSet) -> impl ExactSizeIterator<Item = &Endpoint> {
        self.indexes_in(set).iter().map(|index| &self.endpoints[*index as usize])
    }

    /// Indexes of the endpoints of a set in [`ServicePlan::endpoints`], ascending.
    pub(crate) fn indexes_in(&self, set: EndpointSet) -> &[u32] {
        match set {
            EndpointSet::Cluster => &self.categories.cluster,
            EndpointSet::Local => &self.categories.local,
        }
    }

    /// The endpoints in either set.
    pub fn reachable_endpoints(&self) -> impl ExactSizeIterator<Item = &Endpoint> {
        self.categories.all_reachable.iter().map(|index| &self.endpoints[*index as usize])
    }

    fn new(port: &ServicePort, endpoints: Vec<Endpoint>, config: &NodeConfig, node: &NodePlan) -> Self {
        let question = Question {
            uses_cluster_endpoints: port.uses_cluster_endpoints(),
            uses_local_endpoints: port.uses_local_endpoints(),
            zone: config.zone.as_deref(),
            node_for_hints: config.kube_proxy_version.reads_node_hints().then_some(&*config.node_name),
        };
        let categories = categorize(&endpoints, &question);
        Self {
            name: port.name.clone(),
            cluster_ip: port.cluster_ip,
            port: port.port,
            internal: treatment(port.internal_policy, &categories),
            external: port.is_externally_accessible().then(|| External {
                external_ips: port.external_ips.clone(),
                load_balancer_vips: port.load_balancer_vips.clone(),
                node_port: port.node_port,
                policy: port.external_policy,
                treatment: treatment(port.external_policy, &categories),
                source_ranges: source_ranges(port, config, node.node_ip),
            }),
            affinity_seconds: port.affinity_seconds,
            health_check_node_port: port.health_check_node_port,
            endpoints,
            categories,
        }
    }
}

/// The treatment for this policy. kube-proxy: `syncProxyRules`, pkg/proxy/iptables/proxier.go.
fn treatment(policy: TrafficPolicy, categories: &Categories) -> Treatment {
    if !categories.has_any {
        return Treatment::Reject;
    }
    match policy {
        TrafficPolicy::Cluster => Treatment::Serve(EndpointSet::Cluster),
        TrafficPolicy::Local if categories.local.is_empty() => Treatment::Drop,
        TrafficPolicy::Local => Treatment::Serve(EndpointSet::Local),
    }
}

fn source_ranges(port: &ServicePort, config: &NodeConfig, node_ip: IpAddr) -> Option<SourceRanges> {
    let ranges = &port.source_ranges;
    let admits_all = config.kube_proxy_version.zero_source_range_is_none()
        && ranges.iter().any(|range| range.prefix_len() == 0);
    if ranges.is_empty() || admits_all || port.load_balancer_vips.is_empty() {
        return None;
    }
    let admits_vips = ranges.iter().any(|range| range.contains(&node_ip));
    Some(SourceRanges { ranges: ranges.clone(), admits_vips })
}

/// A change of one service port's plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceChange {
    /// The service port.
    pub name: ServicePortName,
    /// The plan before; `None` if it is new.
    pub before: Option<Arc<ServicePlan>>,
    /// The plan after; `None` if it was removed.
    pub after: Option<Arc<ServicePlan>>,
}

/// A change of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanChange {
    /// Service ports whose plans differ, ordered by name.
    pub services: Vec<ServiceChange>,
    /// [`Plan::endpoint_count`] before the change.
    pub endpoint_count_before: usize,
}

impl PlanChange {
    /// Every service port, changed or not, ordered by name. `after` is the plan to which the change led.
    pub(crate) fn of_all(&self, after: &Plan) -> impl Iterator<Item = ServiceChange> {
        let mut services: BTreeMap<_, _> = after
            .services
            .iter()
            .map(|(name, plan)| (name.clone(), (Some(Arc::clone(plan)), Some(Arc::clone(plan)))))
            .collect();
        for ServiceChange { name, before, after } in &self.services {
            services.insert(name.clone(), (before.clone(), after.clone()));
        }
        services.into_iter().map(|(name, (before, after))| ServiceChange { name, before, after })
    }
}

impl Plan {
    /// The plan of the node that `config` describes, for one family.
    pub fn new(store: &ServiceStore, config: &NodeConfig, family: IpFamily) -> Self {
        let node = NodePlan::new(config, family);
        let plans = store.services().flat_map(|service| service_plans(service, config, &node, family));
        let services: BTreeMap<_, _> = plans.map(|plan| (plan.name.clone(), Arc::new(plan))).collect();
        let endpoint_count = services.values().map(|plan| plan.endpoints.len()).sum();
        Self { family, node, services, endpoint_count }
    }

    /// Recomputes the plan of Services that [`ServiceStore::apply`] or [`ServiceStore::delete`] returned, and returns the change.
    /// The cost depends on these Services only. `config` must be the one with which the plan was made.
    pub fn update(
        &mut self,
        store: &ServiceStore,
        config: &NodeConfig,
        services: &[ServiceName],
    ) -> PlanChange {
        let endpoint_count_before = self.endpoint_count;
        let mut changes = BTreeMap::new();
        for service in services {
            let plans = store.service(service).into_iter();
            let plans = plans.flat_map(|service| service_plans(service, config, &self.node, self.family));
            let mut after: BTreeMap<_, _> = plans.map(|plan| (plan.name.clone(), Arc::new(plan))).collect();
            for name in self.names_of(service) {
                let before = self.services.remove(&name);
                let replacement = after.remove(&name);
                self.replace(&mut changes, name, before, replacement);
            }
            for (name, added) in after {
                self.replace(&mut changes, name, None, Some(added));
            }
        }
        PlanChange { services: changes.into_values().collect(), endpoint_count_before }
    }

    /// Service ports whose plan differs from `before`, ordered by name.
    pub fn change_since(&self, before: &Self) -> PlanChange {
        let mut services = Vec::new();
        let mut olds = before.services.values().peekable();
        let mut news = self.services.values().peekable();
        loop {
            let order = match (olds.peek(), news.peek()) {
                (None, None) => break,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(old), Some(new)) => old.name.cmp(&new.name),
            };
            let old = if order.is_le() { olds.next() } else { None };
            let new = if order.is_ge() { news.next() } else { None };
            let is_same = old.zip(new).is_some_and(|(old, new)| Arc::ptr_eq(old, new) || old == new);
            if let (false, Some(plan)) = (is_same, old.or(new)) {
                services.push(ServiceChange {
                    name: plan.name.clone(),
                    before: old.cloned(),
                    after: new.cloned(),
                });
            }
        }
        PlanChange { services, endpoint_count_before: before.endpoint_count }
    }

    fn names_of(&self, service: &ServiceName) -> Vec<ServicePortName> {
        let ranges = ServicePortName::ranges_of(service);
        ranges
            .into_iter()
            .flat_map(|range| self.services.range(range))
            .map(|(name, _)| name.clone())
            .collect()
    }

    fn replace(
        &mut self,
        changes: &mut BTreeMap<ServicePortName, ServiceChange>,
        name: ServicePortName,
        before: Option<Arc<ServicePlan>>,
        after: Option<Arc<ServicePlan>>,
    ) {
        self.endpoint_count -= before.as_ref().map_or(0, |plan| plan.endpoints.len());
        self.endpoint_count += after.as_ref().map_or(0, |plan| plan.endpoints.len());
        if let Some(plan) = &after {
            self.services.insert(name.clone(), Arc::clone(plan));
        }
        if before != after {
            changes.insert(name.clone(), ServiceChange { name, before, after });
        }
    }
}

fn service_plans(
    service: &ServiceState,
    config: &NodeConfig,
    node: &NodePlan,
    family: IpFamily,
) -> impl Iterator<Item = ServicePlan> {
    service.ports(family).iter().map(move |port| {
        let name = &port.name;
        let endpoints =
            endpoints_of_port(service.slices(), family, name.port(), name.protocol(), &config.node_name);
        ServicePlan::new(port, endpoints, config, node)
    })
}

impl NodePlan {
    /// Derives the node's part from kube-proxy's configuration, for one family.
    ///
    /// kube-proxy: `NewProxier`, pkg/proxy/iptables/proxier.go.
    pub fn new(config: &NodeConfig, family: IpFamily) -> Self {
        let (node_port_addresses, includes_localhost) = node_port_addresses(config, family);
        Self {
            node_ip: config.node_ip(family),
            local_traffic: config.local_traffic[family as usize].clone(),
            internal_masquerade: match &config.local_traffic[family as usize] {
                _ if config.masquerade_all => Masquerade::Always,
                Some(_) => Masquerade::UnlessFromPods,
                None => Masquerade::Never,
            },
            ipvs: IpvsNode::new(config, family, &node_port_addresses),
            masquerade_mark: 1 << config.masquerade_bit,
            node_port_addresses,
            localhost_node_ports: config.localhost_node_ports && includes_localhost,
            drops_invalid: !config.tcp_be_liberal,
            has_nfacct: config.has_nfacct,
            random_fully: config.kube_proxy_version.always_random_fully() || config.has_random_fully,
            conntrack_sysctls: config.conntrack_sysctls.clone(),
            reconciles_conntrack: config.kube_proxy_version.reconciles_conntrack(),
        }
    }
}

/// The node's addresses that accept NodePort traffic, and whether the CIDRs include IPv4 loopback.
///
/// kube-proxy: `NewNodePortAddresses`, `GetNodeIPs`, pkg/proxy/util/nodeport_addresses.go. If the list has nothing for
/// a family, that family accepts NodePort traffic on all addresses, even if the list names addresses of the other
/// family.
fn node_port_addresses(config: &NodeConfig, family: IpFamily) -> (NodePortAddresses, bool) {
    let all: IpNet = match family {
        IpFamily::V4 => IpNet::new_assert([0, 0, 0, 0].into(), 0),
        IpFamily::V6 => IpNet::new_assert([0u16; 8].into(), 0),
    };
    let loopback: IpNet = match family {
        IpFamily::V4 => IpNet::new_assert([127, 0, 0, 0].into(), 8),
        IpFamily::V6 => IpNet::new_assert([0, 0, 0, 0, 0, 0, 0, 1u16].into(), 128),
    };
    let mut nets: Vec<IpNet> = Vec::new();
    for address in &config.node_port_addresses {
        match address {
            NodePortAddress::Cidr(net) if family_of_net(net) == family => nets.push(*net),
            NodePortAddress::Cidr(_) => {}
            // kube-proxy: a node without an address of the family has loopback as primary address, which is skipped.
            NodePortAddress::Primary => {
                nets.extend(Some(config.node_ip(family)).filter(|ip| !ip.is_loopback()).map(IpNet::from));
            }
            NodePortAddress::Localhost => nets.push(loopback),
            NodePortAddress::All => nets.push(all),
        }
    }
    if nets.is_empty() {
        nets.push(all);
    }
    let includes_localhost = family == IpFamily::V4
        && nets.iter().any(|net| net.addr().is_loopback() || net.contains(&loopback.addr()));
    if nets.iter().any(|net| net.prefix_len() == 0) {
        return (NodePortAddresses::AllLocal, includes_localhost);
    }
    let mut ips: Vec<IpAddr> = config
        .interface_addresses
        .iter()
        .map(IpNet::addr)
        .filter(|ip| family_of(*ip) == family && nets.iter().any(|net| net.contains(ip)))
        .collect();
    ips.sort_unstable();
    ips.dedup();
    (NodePortAddresses::Only(ips), includes_localhost)
}
