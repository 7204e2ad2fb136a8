//! The chains that belong to one service port.

use std::collections::BTreeMap;

use super::chain_name::{ChainKind, ChainName, Hash};
use super::dispatch::chain_kind;
use super::matches::{ExternalDestinations, IfLocal, IfNotLocal, ProbabilityText, ToVip};
use super::rules::Rules;
use crate::endpoint::Endpoint;
use crate::objects::TrafficPolicy;
use crate::plan::{EndpointSet, External, Masquerade, NodePlan, ServicePlan, SourceRanges, Treatment};

/// The names of all chains of one service port.
#[derive(Debug, Clone)]
pub(super) struct ServiceChains {
    hash: Hash,
    /// Chains other than endpoint chains, in write order.
    of_service: Vec<ChainName>,
    /// Chains of the reachable endpoints, in order.
    of_endpoints: Vec<ChainName>,
}

/// The rules of every chain of a service port, as lines; no chains for an absent service port.
pub(crate) fn chain_texts(
    service: Option<&ServicePlan>,
    node: &NodePlan,
    large: bool,
) -> BTreeMap<ChainName, String> {
    let Some(service) = service else { return BTreeMap::new() };
    let chains = ServiceChains::new(service);
    let mut rules = Rules::default();
    chains.write(&mut rules, service, node, large);
    let mut texts: BTreeMap<ChainName, String> =
        chains.names().map(|chain| (*chain, String::new())).collect();
    let by_text: BTreeMap<&str, ChainName> = chains.names().map(|chain| (chain.as_str(), *chain)).collect();
    for line in rules.iter() {
        let text = by_text.get(line.chain).and_then(|chain| texts.get_mut(chain));
        text.expect("every rule is in a chain of the service port").push_str(line.text);
    }
    texts
}

/// The names of every chain of a service port.
pub(crate) fn chain_names(service: &ServicePlan) -> Vec<ChainName> {
    ServiceChains::new(service).names().copied().collect()
}

impl ServiceChains {
    pub(super) fn new(service: &ServicePlan) -> Self {
        let hash = Hash::of_service_port(&service.name);
        let mut of_service = Vec::new();
        if let Some(external) = service.external.as_ref().filter(|_| service.has_endpoints()) {
            of_service.push(hash.chain(ChainKind::External));
            of_service.extend(external.source_ranges.as_ref().map(|_| hash.chain(ChainKind::Firewall)));
        }
        for set in [EndpointSet::Cluster, EndpointSet::Local] {
            if service.endpoints_in(set).len() > 0 {
                of_service.push(hash.chain(chain_kind(set)));
            }
        }
        let endpoints = service.reachable_endpoints();
        let of_endpoints = endpoints
            .map(|endpoint| Hash::of_endpoint(&service.name, &endpoint.text).chain(ChainKind::Endpoint))
            .collect();
        Self { hash, of_service, of_endpoints }
    }

    /// All names, in write order.
    pub(super) fn names(&self) -> impl Iterator<Item = &ChainName> {
        self.of_service.iter().chain(&self.of_endpoints)
    }

    /// Writes the rules of all chains. `large`: omit comments about single endpoints.
    pub(super) fn write(&self, rules: &mut Rules, service: &ServicePlan, node: &NodePlan, large: bool) {
        let mut writer = Writer { rules, chains: self, service, node, large };
        if let Some(external) = service.external.as_ref().filter(|_| service.has_endpoints()) {
            writer.write_external(external);
            if let Some(ranges) = &external.source_ranges {
                writer.write_firewall(external, ranges);
            }
        }
        for set in [EndpointSet::Cluster, EndpointSet::Local] {
            if service.endpoints_in(set).len() > 0 {
                writer.write_choice(set);
            }
        }
        for (endpoint, chain) in service.reachable_endpoints().zip(&self.of_endpoints) {
            writer.write_endpoint(endpoint, chain);
        }
    }
}

struct Writer<'a> {
    rules: &'a mut Rules,
    chains: &'a ServiceChains,
    service: &'a ServicePlan,
    node: &'a NodePlan,
    large: bool,
}

impl Writer<'_> {
    /// Traffic for external IPs, load balancer addresses and NodePorts.
    fn write_external(&mut self, external: &External) {
        let about = |what| ExternalDestinations { what, name: &self.service.name };
        let chain = self.chains.hash.chain(ChainKind::External);
        let cluster = self.chains.hash.chain(ChainKind::Cluster);
        match external.policy {
            TrafficPolicy::Cluster => {
                // The endpoint may be on another node: the reply must return through this node.
                self.rules
                    .push(chain.as_str(), format_args!("{} -j KUBE-MARK-MASQ", about("masquerade traffic")));
            }
            TrafficPolicy::Local => {
                if let Some(local) = &self.node.local_traffic {
                    // As if it had passed an external load balancer: not subject to the policy.
                    let pods = IfLocal(local);
                    self.rules
                        .push(chain.as_str(), format_args!("{} {pods} -j {cluster}", about("pod traffic")));
                }
                // The node may use the VIP as its source address.
                let from_node = "-m addrtype --src-type LOCAL";
                let masquerade = about("masquerade LOCAL traffic");
                self.rules.push(chain.as_str(), format_args!("{masquerade} {from_node} -j KUBE-MARK-MASQ"));
                let route = about("route LOCAL traffic");
                self.rules.push(chain.as_str(), format_args!("{route} {from_node} -j {cluster}"));
            }
        }
        if let Treatment::Serve(set) = external.treatment {
            self.rules.push(chain.as_str(), format_args!("-j {}", self.chains.hash.chain(chain_kind(set))));
        }
    }

    /// Accepts the sources in `loadBalancerSourceRanges`. Other packets are not translated, and dropped in the filter
    /// table.
    fn write_firewall(&mut self, external: &External, ranges: &SourceRanges) {
        let name = &self.service.name;
        let chain = self.chains.hash.chain(ChainKind::Firewall);
        let next = self.chains.hash.chain(ChainKind::External);
        let comment = format!("-m comment --comment \"{name} loadbalancer IP\"");
        for range in &ranges.ranges {
            self.rules.push(chain.as_str(), format_args!("{comment} -s {range} -j {next}"));
        }
        for vip in external.load_balancer_vips.iter().filter(|_| ranges.admits_vips) {
            self.rules.push(chain.as_str(), format_args!("{comment} -s {vip} -j {next}"));
        }
        let rest = "will be dropped by KUBE-PROXY-FIREWALL";
        self.rules
            .push(chain.as_str(), format_args!("-m comment --comment \"other traffic to {name} {rest}\""));
    }

    /// Balances over a set of endpoints.
    fn write_choice(&mut self, set: EndpointSet) {
        let chain = self.chains.hash.chain(chain_kind(set));
        if self.service.internal == Treatment::Serve(set) {
            self.write_cluster_ip_masquerade(chain);
        }
        let (head, comment_end) = if self.large {
            (String::new(), "")
        } else {
            (format!("-m comment --comment \"{} -> ", self.service.name), "\" ")
        };
        let members = self.service.indexes_in(set);
        let reachable = self.service.categories.all_reachable.iter().zip(&self.chains.of_endpoints);
        // The parts of each rule's prefix, and its target. Both index lists are ascending.
        let choices: Vec<([&str; 3], &str)> = reachable
            .filter(|(index, _)| members.binary_search(index).is_ok())
            .map(|(index, target)| {
                let endpoint = &self.service.endpoints[*index as usize];
                let about = if self.large { "" } else { &endpoint.text };
                ([head.as_str(), about, comment_end], target.as_str())
            })
            .collect();
        if let Some(seconds) = self.service.affinity_seconds {
            let known = format!(" --rcheck --seconds {seconds} --reap -j ");
            for (head, target) in &choices {
                self.rules.concat(chain.as_str(), &[head, &["-m recent --name ", target, &known, target]]);
            }
        }
        for (position, (head, target)) in choices.iter().enumerate() {
            let jump = ["-j ", target];
            match choices.len() - position {
                1 => self.rules.concat(chain.as_str(), &[head, &jump]),
                left => {
                    let probability = ProbabilityText::of_one_in(left);
                    let random = ["-m statistic --mode random --probability ", probability.as_str(), " "];
                    self.rules.concat(chain.as_str(), &[head, &random, &jump]);
                }
            }
        }
    }

    /// Traffic to the ClusterIP from outside the cluster is routed to this node on purpose; its reply must return
    /// through it.
    fn write_cluster_ip_masquerade(&mut self, chain: ChainName) {
        let to = ToVip { service: self.service, vip: self.service.cluster_ip, what: "cluster IP" };
        match (self.node.internal_masquerade, &self.node.local_traffic) {
            (Masquerade::Never, _) | (Masquerade::UnlessFromPods, None) => {}
            (Masquerade::Always, _) => {
                self.rules.push(chain.as_str(), format_args!("{to} -j KUBE-MARK-MASQ"))
            }
            (Masquerade::UnlessFromPods, Some(local)) => {
                self.rules.push(chain.as_str(), format_args!("{to} {} -j KUBE-MARK-MASQ", IfNotLocal(local)));
            }
        }
    }

    fn write_endpoint(&mut self, endpoint: &Endpoint, chain: &ChainName) {
        let chain = chain.as_str();
        let protocol = self.service.name.protocol().lower();
        let name = self.service.name.as_str();
        let head: &[&str] = if self.large { &[] } else { &["-m comment --comment ", name, " "] };
        // Otherwise an endpoint connected to itself would reply to itself directly, bypassing the reverse translation.
        self.rules.concat(chain, &[head, &["-s ", endpoint.address_text(), " -j KUBE-MARK-MASQ"]]);
        let remember: &[&str] = if self.service.affinity_seconds.is_some() {
            &["-m recent --name ", chain, " --set "]
        } else {
            &[]
        };
        let dnat = ["-m ", protocol, " -p ", protocol, " -j DNAT --to-destination ", &endpoint.text];
        self.rules.concat(chain, &[head, remember, &dnat]);
    }
}
