//! The chains that belong to one service port.

use std::fmt;

use super::Lines;
use super::dispatch::chain_kind;
use super::matches::{EndpointComment, ExternalDestinations, IfLocal, IfNotLocal, Layer4, OneIn, ToVip};
use crate::endpoint::Endpoint;
use crate::names::{ChainKind, ChainName, Hash, ServicePortName};
use crate::objects::TrafficPolicy;
use crate::plan::{EndpointSet, External, Masquerade, NodePlan, ServicePlan, SourceRanges, Treatment};

/// Chains and their rules: one text, cut where a chain begins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ChainTexts {
    rules: Lines,
    /// Each chain with where its rules begin.
    starts: Vec<(ChainName, usize)>,
}

impl ChainTexts {
    /// Every chain with the lines of its rules, in the order of writing.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (ChainName, &str)> {
        let text = self.rules.as_str();
        self.starts.iter().enumerate().map(move |(index, (chain, start))| {
            let end = self.starts.get(index + 1).map_or(text.len(), |(_, next)| *next);
            (*chain, &text[*start..end])
        })
    }

    /// The rules of all chains.
    pub(super) fn rules(&self) -> &str {
        self.rules.as_str()
    }

    /// Bytes of text.
    pub(super) fn len(&self) -> usize {
        self.rules.as_str().len()
    }

    fn begin(&mut self, chain: ChainName) {
        self.starts.push((chain, self.rules.as_str().len()));
    }

    fn rule(&mut self, chain: ChainName, rule: fmt::Arguments<'_>) {
        self.rules.push(format_args!("-A {chain} {rule}"));
    }
}

/// Writes the chains of one service port. `large`: leave comments about single endpoints out.
pub(crate) fn write_service_chains(
    chains: &mut ChainTexts,
    service: &ServicePlan,
    node: &NodePlan,
    large: bool,
) {
    if !service.has_endpoints() {
        return;
    }
    let writer = Writer {
        service,
        node,
        hash: Hash::of_service_port(&service.name),
        endpoint_chains: endpoint_chains(service),
        large,
    };
    if let Some(external) = &service.external {
        writer.write_external(chains, external);
        if let Some(ranges) = &external.source_ranges {
            writer.write_firewall(chains, external, ranges);
        }
    }
    for set in [EndpointSet::Cluster, EndpointSet::Local] {
        if service.endpoints_in(set).len() > 0 {
            writer.write_choice(chains, set);
        }
    }
    for endpoint in &service.categories.all_reachable {
        writer.write_endpoint(chains, *endpoint);
    }
}

/// The chain of every endpoint that may serve, at the endpoint's index.
fn endpoint_chains(service: &ServicePlan) -> Vec<Option<ChainName>> {
    let mut chains = vec![None; service.endpoints.len()];
    for index in &service.categories.all_reachable {
        let hash = Hash::of_endpoint(&service.name, &service.endpoints[*index as usize].text);
        chains[*index as usize] = Some(hash.chain(ChainKind::Endpoint));
    }
    chains
}

struct Writer<'a> {
    service: &'a ServicePlan,
    node: &'a NodePlan,
    hash: Hash,
    endpoint_chains: Vec<Option<ChainName>>,
    large: bool,
}

impl Writer<'_> {
    /// The name to put into comments about endpoints.
    fn commented_name(&self) -> Option<&ServicePortName> {
        (!self.large).then_some(&self.service.name)
    }

    fn endpoint(&self, index: u32) -> (&Endpoint, ChainName) {
        let index = index as usize;
        (&self.service.endpoints[index], self.endpoint_chains[index].expect("it is among the reachable"))
    }

    /// Traffic for external IPs, load balancer addresses and NodePorts.
    fn write_external(&self, chains: &mut ChainTexts, external: &External) {
        let about = |what| ExternalDestinations { what, name: &self.service.name };
        let chain = self.hash.chain(ChainKind::External);
        let cluster = self.hash.chain(ChainKind::Cluster);
        chains.begin(chain);
        match external.policy {
            TrafficPolicy::Cluster => {
                // The endpoint may be on another node: the reply must come back this way.
                chains.rule(chain, format_args!("{} -j KUBE-MARK-MASQ", about("masquerade traffic")));
            }
            TrafficPolicy::Local => {
                if let Some(local) = &self.node.local_traffic {
                    // As if it had gone up to an external balancer and come back: not subject to the policy.
                    let pods = IfLocal(local);
                    chains.rule(chain, format_args!("{} {pods} -j {cluster}", about("pod traffic")));
                }
                // The node may use the VIP as its source.
                let from_node = "-m addrtype --src-type LOCAL";
                let masquerade = about("masquerade LOCAL traffic");
                chains.rule(chain, format_args!("{masquerade} {from_node} -j KUBE-MARK-MASQ"));
                chains.rule(chain, format_args!("{} {from_node} -j {cluster}", about("route LOCAL traffic")));
            }
        }
        if let Treatment::Serve(set) = external.treatment {
            chains.rule(chain, format_args!("-j {}", self.hash.chain(chain_kind(set))));
        }
    }

    /// What `loadBalancerSourceRanges` lets through. The rest is not rewritten, and dropped in the filter table.
    fn write_firewall(&self, chains: &mut ChainTexts, external: &External, ranges: &SourceRanges) {
        let name = &self.service.name;
        let chain = self.hash.chain(ChainKind::Firewall);
        let next = self.hash.chain(ChainKind::External);
        let comment = format!("-m comment --comment \"{name} loadbalancer IP\"");
        chains.begin(chain);
        for range in &ranges.ranges {
            chains.rule(chain, format_args!("{comment} -s {range} -j {next}"));
        }
        for vip in external.load_balancer_vips.iter().filter(|_| ranges.admits_vips) {
            chains.rule(chain, format_args!("{comment} -s {vip} -j {next}"));
        }
        let rest = "will be dropped by KUBE-PROXY-FIREWALL";
        chains.rule(chain, format_args!("-m comment --comment \"other traffic to {name} {rest}\""));
    }

    /// The choice among a set of endpoints.
    fn write_choice(&self, chains: &mut ChainTexts, set: EndpointSet) {
        let chain = self.hash.chain(chain_kind(set));
        chains.begin(chain);
        if self.service.internal == Treatment::Serve(set) {
            self.write_cluster_ip_masquerade(chains, chain);
        }
        let indexes = match set {
            EndpointSet::Cluster => &self.service.categories.cluster,
            EndpointSet::Local => &self.service.categories.local,
        };
        let name = self.commented_name();
        let choices = indexes.iter().map(|index| {
            let (endpoint, target) = self.endpoint(*index);
            (EndpointComment { name, endpoint: Some(&endpoint.text) }, target)
        });
        if let Some(seconds) = self.service.affinity_seconds {
            for (comment, target) in choices.clone() {
                let known =
                    format_args!("-m recent --name {target} --rcheck --seconds {seconds} --reap").to_string();
                chains.rule(chain, format_args!("{comment}{known} -j {target}"));
            }
        }
        for (position, (comment, target)) in choices.enumerate() {
            match indexes.len() - position {
                1 => chains.rule(chain, format_args!("{comment}-j {target}")),
                left => chains.rule(chain, format_args!("{comment}{} -j {target}", OneIn(left))),
            }
        }
    }

    /// Traffic to the ClusterIP from outside: routed to this node on purpose, its reply must pass here again.
    fn write_cluster_ip_masquerade(&self, chains: &mut ChainTexts, chain: ChainName) {
        let to = ToVip { service: self.service, vip: self.service.cluster_ip, what: "cluster IP" };
        match (self.service.internal_masquerade, &self.node.local_traffic) {
            (Masquerade::Never, _) | (Masquerade::UnlessFromPods, None) => {}
            (Masquerade::Always, _) => chains.rule(chain, format_args!("{to} -j KUBE-MARK-MASQ")),
            (Masquerade::UnlessFromPods, Some(local)) => {
                chains.rule(chain, format_args!("{to} {} -j KUBE-MARK-MASQ", IfNotLocal(local)));
            }
        }
    }

    fn write_endpoint(&self, chains: &mut ChainTexts, index: u32) {
        let (endpoint, chain) = self.endpoint(index);
        let comment = EndpointComment { name: self.commented_name(), endpoint: None };
        let layer4 = Layer4(self.service.name.protocol());
        chains.begin(chain);
        // An endpoint that is sent to itself would answer itself directly, past the un-NAT.
        chains.rule(chain, format_args!("{comment}-s {} -j KUBE-MARK-MASQ", endpoint.address_text()));
        let dnat = format_args!("{layer4} -j DNAT --to-destination {}", endpoint.text).to_string();
        if self.service.affinity_seconds.is_some() {
            chains.rule(chain, format_args!("{comment}-m recent --name {chain} --set {dnat}"));
        } else {
            chains.rule(chain, format_args!("{comment}{dnat}"));
        }
    }
}
