//! The chains that belong to one service port.

use std::fmt;

use super::Lines;
use super::dispatch::chain_kind;
use crate::config::LocalTraffic;
use crate::endpoint::Endpoint;
use crate::names::{ChainKind, ChainName, Hash};
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
    fn endpoint(&self, index: u32) -> (&Endpoint, ChainName) {
        let index = index as usize;
        (&self.service.endpoints[index], self.endpoint_chains[index].expect("it is among the reachable"))
    }

    /// Traffic for external IPs, load balancer addresses and NodePorts.
    fn write_external(&self, chains: &mut ChainTexts, external: &External) {
        let name = &self.service.name;
        let chain = self.hash.chain(ChainKind::External);
        let cluster = self.hash.chain(ChainKind::Cluster);
        chains.begin(chain);
        match external.policy {
            // The endpoint may be on another node: the reply must come back this way.
            TrafficPolicy::Cluster => chains.rule(chain, format_args!(
                "-m comment --comment \"masquerade traffic for {name} external destinations\" -j KUBE-MARK-MASQ"
            )),
            TrafficPolicy::Local => {
                // As if it had gone up to an external balancer and come back: not subject to the policy.
                if let Some(local) = &self.node.local_traffic {
                    chains.rule(chain, format_args!(
                        "-m comment --comment \"pod traffic for {name} external destinations\" {} -j {cluster}",
                        IfLocal(local)
                    ));
                }
                // The node may use the VIP as its source.
                chains.rule(chain, format_args!(
                    "-m comment --comment \"masquerade LOCAL traffic for {name} external destinations\" -m addrtype --src-type LOCAL -j KUBE-MARK-MASQ"
                ));
                chains.rule(chain, format_args!(
                    "-m comment --comment \"route LOCAL traffic for {name} external destinations\" -m addrtype --src-type LOCAL -j {cluster}"
                ));
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
        chains.begin(chain);
        for range in &ranges.ranges {
            chains.rule(
                chain,
                format_args!("-m comment --comment \"{name} loadbalancer IP\" -s {range} -j {next}"),
            );
        }
        for vip in external.load_balancer_vips.iter().filter(|_| ranges.admits_vips) {
            chains.rule(
                chain,
                format_args!("-m comment --comment \"{name} loadbalancer IP\" -s {vip} -j {next}"),
            );
        }
        chains.rule(
            chain,
            format_args!(
                "-m comment --comment \"other traffic to {name} will be dropped by KUBE-PROXY-FIREWALL\""
            ),
        );
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
        if let Some(seconds) = self.service.affinity_seconds {
            for index in indexes {
                let (endpoint, target) = self.endpoint(*index);
                chains.rule(
                    chain,
                    format_args!(
                        "{}-m recent --name {target} --rcheck --seconds {seconds} --reap -j {target}",
                        self.endpoint_comment(endpoint)
                    ),
                );
            }
        }
        for (position, index) in indexes.iter().enumerate() {
            let (endpoint, target) = self.endpoint(*index);
            let comment = self.endpoint_comment(endpoint);
            match indexes.len() - position {
                1 => chains.rule(chain, format_args!("{comment}-j {target}")),
                left => chains.rule(
                    chain,
                    format_args!(
                        "{comment}-m statistic --mode random --probability {} -j {target}",
                        OneOf(left)
                    ),
                ),
            }
        }
    }

    /// Traffic to the ClusterIP from outside: routed to this node on purpose, its reply must pass here again.
    fn write_cluster_ip_masquerade(&self, chains: &mut ChainTexts, chain: ChainName) {
        let ServicePlan { name, cluster_ip, port, .. } = self.service;
        let protocol = name.protocol().lower();
        let condition = match (self.service.internal_masquerade, &self.node.local_traffic) {
            (Masquerade::Never, _) | (Masquerade::UnlessFromPods, None) => return,
            (Masquerade::Always, _) => None,
            (Masquerade::UnlessFromPods, Some(local)) => Some(IfNotLocal(local)),
        };
        let head = format_args!(
            "-m comment --comment \"{name} cluster IP\" -m {protocol} -p {protocol} -d {cluster_ip} --dport {port}"
        )
        .to_string();
        match condition {
            None => chains.rule(chain, format_args!("{head} -j KUBE-MARK-MASQ")),
            Some(condition) => chains.rule(chain, format_args!("{head} {condition} -j KUBE-MARK-MASQ")),
        }
    }

    fn write_endpoint(&self, chains: &mut ChainTexts, index: u32) {
        let (endpoint, chain) = self.endpoint(index);
        let name = &self.service.name;
        let protocol = name.protocol().lower();
        let comment = Comment { service: (!self.large).then_some(name.as_str()), endpoint: None };
        chains.begin(chain);
        // An endpoint that is sent to itself would answer itself directly, past the un-NAT.
        chains.rule(chain, format_args!("{comment}-s {} -j KUBE-MARK-MASQ", endpoint.address_text()));
        let to = &endpoint.text;
        if self.service.affinity_seconds.is_some() {
            chains.rule(chain, format_args!(
                "{comment}-m recent --name {chain} --set -m {protocol} -p {protocol} -j DNAT --to-destination {to}"
            ));
        } else {
            chains.rule(
                chain,
                format_args!("{comment}-m {protocol} -p {protocol} -j DNAT --to-destination {to}"),
            );
        }
    }

    fn endpoint_comment<'b>(&'b self, endpoint: &'b Endpoint) -> Comment<'b> {
        Comment {
            service: (!self.large).then_some(self.service.name.as_str()),
            endpoint: Some(&endpoint.text),
        }
    }
}

/// A comment match about a service port, and perhaps one of its endpoints; nothing in large clusters.
#[derive(Clone, Copy)]
struct Comment<'a> {
    service: Option<&'a str>,
    endpoint: Option<&'a str>,
}

impl fmt::Display for Comment<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.service, self.endpoint) {
            (None, _) => Ok(()),
            (Some(service), None) => write!(formatter, "-m comment --comment {service} "),
            (Some(service), Some(endpoint)) => {
                write!(formatter, "-m comment --comment \"{service} -> {endpoint}\" ")
            }
        }
    }
}

/// A match for traffic of this node's pods. kube-proxy: pkg/proxy/util/localdetector.go.
struct IfLocal<'a>(&'a LocalTraffic);

impl fmt::Display for IfLocal<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            LocalTraffic::Source(net) => write!(formatter, "-s {net}"),
            LocalTraffic::Device(device) => write!(formatter, "-i {device}"),
            LocalTraffic::DevicePrefix(prefix) => write!(formatter, "-i {prefix}+"),
        }
    }
}

/// A match for all other traffic.
struct IfNotLocal<'a>(&'a LocalTraffic);

impl fmt::Display for IfNotLocal<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "! {}", IfLocal(self.0))
    }
}

/// The probability of one of this many, as kube-proxy prints it (`%0.10f`).
struct OneOf(usize);

impl fmt::Display for OneOf {
    #[expect(clippy::cast_precision_loss, reason = "a Service has fewer endpoints than 2^52")]
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:.10}", 1.0 / self.0 as f64)
    }
}
