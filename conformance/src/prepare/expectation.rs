//! Expectations with all references resolved.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use super::plan::FlowPlan;
use super::{Preparation, resolve};
use crate::cluster::Cluster;
use crate::netns::NetnsName;
use crate::observation::{DropObservation, DropReason, EndpointName, Transport};
use crate::scenario::{
    ConntrackExpectation, Expectation, Expectations, FieldFault, FlowStatus, OutcomePattern, PortReference,
    ProxyMode, Reference, Share, SourceSeen, Target, Viewpoint, nearest,
};

/// The expectations of a step in one mode.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PreparedExpectation {
    /// The outcome of every flow.
    pub outcome: Option<OutcomePattern>,
    /// Outcomes with shares; empty if not checked.
    pub outcomes: Vec<(OutcomePattern, Share)>,
    /// Endpoints with shares; `None` if not checked.
    pub endpoints: Option<Vec<(EndpointName, Share)>>,
    /// The endpoint of each connection, in order; empty if not checked.
    pub sequence: Vec<EndpointName>,
    /// The source address that endpoints see, for all of them or by endpoint.
    pub source_seen: Vec<EndpointAddresses>,
    /// The source address of replies to the client.
    pub reply_from: Option<Addresses>,
    /// The status of HTTP responses.
    pub status: Option<u16>,
    /// The addresses of the name, in ascending order; empty if the name must not exist.
    pub addresses: Option<Vec<Ipv4Addr>>,
    /// Where packets of the step are dropped, and optionally the reason.
    pub dropped: Option<(NetnsName, Option<String>)>,
    /// Entries of conntrack tables.
    pub conntrack: Vec<ConntrackFilter>,
}

/// Expected source addresses, and the endpoint that sees them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointAddresses {
    /// The endpoint; `None` for every endpoint.
    pub endpoint: Option<EndpointName>,
    /// The expected addresses.
    pub addresses: Addresses,
}

/// A set of alternative addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addresses {
    /// Their description in the scenario.
    pub words: String,
    /// The addresses.
    pub any_of: Vec<IpAddr>,
}

/// The expected number of conntrack entries that match a filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConntrackFilter {
    /// The netns of the table.
    pub netns: NetnsName,
    /// Matches this protocol.
    pub protocol: Option<Transport>,
    /// Matches the source of the original direction: this address and, if given, port.
    pub from: Option<(IpAddr, Option<u16>)>,
    /// Matches the destination of the original direction: this address and, if given, port.
    pub to: Option<(IpAddr, Option<u16>)>,
    /// Matches entries with this status.
    pub status: Option<FlowStatus>,
    /// The expected number.
    pub entries: u32,
}

impl Addresses {
    /// True if the address is in the set.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.any_of.contains(&address)
    }
}

impl fmt::Display for Addresses {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list: Vec<_> = self.any_of.iter().map(ToString::to_string).collect();
        match &list[..] {
            [only] if *only == self.words => formatter.write_str(only),
            _ => write!(formatter, "{} ({})", self.words, list.join(" or ")),
        }
    }
}

impl fmt::Display for ConntrackFilter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = |end: &(IpAddr, Option<u16>)| match end {
            (address, Some(port)) => format!("{address}:{port}"),
            (address, None) => address.to_string(),
        };
        let status = match self.status {
            Some(FlowStatus::Unreplied) => Some("unreplied"),
            Some(FlowStatus::Replied) => Some("replied"),
            None => None,
        };
        let words = [
            status.map(str::to_owned),
            self.protocol.map(|protocol| protocol.name().to_owned()),
            Some(if self.entries == 1 { "entry" } else { "entries" }.to_owned()),
            self.from.as_ref().map(|from| format!("from {}", end(from))),
            self.to.as_ref().map(|to| format!("to {}", end(to))),
            Some(format!("on {}", self.netns)),
        ];
        let words: Vec<_> = words.into_iter().flatten().collect();
        write!(formatter, "{} {}", self.entries, words.join(" "))
    }
}

impl Preparation {
    pub(super) fn expectations(
        &mut self,
        step: &str,
        expect: Option<&Expectations>,
        cluster: &Cluster,
        flows: Option<&FlowPlan>,
    ) -> BTreeMap<ProxyMode, PreparedExpectation> {
        let Some(expect) = expect else { return BTreeMap::new() };
        let mut prepared = BTreeMap::new();
        let default_path =
            match self.scenario.as_ref().and_then(|origin| origin.node.at(&format!("{step}.expect.default")))
            {
                Some(_) => format!("{step}.expect.default"),
                None => format!("{step}.expect"),
            };
        let default = expect.default.as_ref();
        let default = default.map(|default| self.expectation(&default_path, default, cluster, flows));
        for mode in ProxyMode::ALL {
            let own = expect.by_mode.get(&mode);
            let own = own.map(|own| self.expectation(&format!("{step}.expect.{mode}"), own, cluster, flows));
            prepared.extend(own.or_else(|| default.clone()).map(|expectation| (mode, expectation)));
        }
        prepared
    }

    fn expectation(
        &mut self,
        path: &str,
        expectation: &Expectation,
        cluster: &Cluster,
        flows: Option<&FlowPlan>,
    ) -> PreparedExpectation {
        let endpoints = expectation.endpoints.as_ref().map(|shares| {
            let mut known = Vec::new();
            let shares = shares.iter().filter_map(|(reference, share)| {
                let path = self.written_reference(&format!("{path}.endpoints"), reference);
                let endpoint = endpoint(cluster, reference, flows, &mut known);
                Some((self.found_key(&path, endpoint)?, *share))
            });
            shares.collect()
        });
        let sequence = self.sequence(&format!("{path}.endpoints"), &expectation.sequence, cluster, flows);
        let source_seen = match &expectation.source_seen {
            None => Vec::new(),
            Some(SourceSeen::All(viewpoint)) => {
                let addresses = addresses(cluster, viewpoint, flows);
                let addresses = self.found(&format!("{path}.sourceSeen"), addresses);
                addresses
                    .map(|addresses| EndpointAddresses { endpoint: None, addresses })
                    .into_iter()
                    .collect()
            }
            Some(SourceSeen::ByEndpoint(by_endpoint)) => {
                let (mut seen, mut known) = (Vec::new(), Vec::new());
                for (reference, viewpoint) in by_endpoint {
                    let path = self.written_reference(&format!("{path}.sourceSeen"), reference);
                    let endpoint = endpoint(cluster, reference, flows, &mut known);
                    let endpoint = self.found_key(&path, endpoint);
                    let addresses = addresses(cluster, viewpoint, flows);
                    let addresses = self.found(&path, addresses);
                    let pair = endpoint.zip(addresses);
                    seen.extend(pair.map(|(endpoint, addresses)| EndpointAddresses {
                        endpoint: Some(endpoint),
                        addresses,
                    }));
                }
                seen
            }
        };
        let reply_from = expectation.reply_from.as_ref().and_then(|viewpoint| {
            self.found(&format!("{path}.replyFrom"), addresses(cluster, viewpoint, flows))
        });
        let dropped = expectation.dropped.as_ref().and_then(|dropped| {
            let on = resolve::machine(cluster, &dropped.on);
            let on = self.found(&format!("{path}.dropped.on"), on)?;
            if let Some(name) = &dropped.reason {
                self.found(&format!("{path}.dropped.reason"), known_reason(name));
            }
            Some((on, dropped.reason.clone()))
        });
        let conntrack = expectation.conntrack.iter().enumerate();
        let conntrack = conntrack
            .filter_map(|(index, filter)| {
                self.conntrack(&format!("{path}.conntrack[{index}]"), filter, cluster)
            })
            .collect();
        let addresses = expectation.addresses.as_ref().map(|targets| {
            let targets = targets.iter().enumerate();
            let mut addresses: Vec<Ipv4Addr> = targets
                .filter_map(|(index, target)| {
                    self.found(&format!("{path}.addresses[{index}]"), resolve::address(cluster, target))
                })
                .collect();
            addresses.sort_unstable();
            addresses
        });
        let (outcome, outcomes) = (expectation.outcome, expectation.outcomes.clone());
        PreparedExpectation {
            outcome,
            outcomes,
            endpoints,
            sequence,
            source_seen,
            reply_from,
            status: expectation.status,
            addresses,
            dropped,
            conntrack,
        }
    }

    fn sequence(
        &mut self,
        path: &str,
        sequence: &[Reference],
        cluster: &Cluster,
        flows: Option<&FlowPlan>,
    ) -> Vec<EndpointName> {
        let count = flows.and_then(|flows| usize::try_from(flows.count).ok());
        if let Some(count) = count.filter(|count| !sequence.is_empty() && *count != sequence.len()) {
            let fault = FieldFault::new(format!("{} endpoints for {count} connections", sequence.len()));
            self.found(path, Err::<(), _>(fault.expected("the endpoint of each connection")));
        }
        let endpoints = sequence.iter().enumerate();
        endpoints
            .filter_map(|(index, reference)| {
                let endpoint = endpoint(cluster, reference, flows, &mut Vec::new());
                self.found(&format!("{path}[{index}]"), endpoint)
            })
            .collect()
    }

    fn written_reference(&self, path: &str, reference: &Reference) -> String {
        self.written(path, |key| Reference::parse(key).as_ref() == Ok(reference))
    }

    fn conntrack(
        &mut self,
        path: &str,
        expectation: &ConntrackExpectation,
        cluster: &Cluster,
    ) -> Option<ConntrackFilter> {
        let netns = self.found(&format!("{path}.on"), resolve::machine(cluster, &expectation.on));
        let end = |reference: &Option<Reference>| match reference {
            None => Ok(None),
            Some(reference) => conntrack_end(cluster, reference).map(Some),
        };
        let from = self.found(&format!("{path}.from"), end(&expectation.from));
        let to = self.found(&format!("{path}.to"), end(&expectation.to));
        Some(ConntrackFilter {
            netns: netns?,
            protocol: expectation.protocol.map(Transport::of),
            from: from?,
            to: to?,
            status: expectation.status,
            entries: expectation.entries,
        })
    }
}

/// Resolves an endpoint, and adds it to the known ones; fails if it is a duplicate or cannot reply.
fn endpoint(
    cluster: &Cluster,
    reference: &Reference,
    flows: Option<&FlowPlan>,
    known: &mut Vec<EndpointName>,
) -> Result<EndpointName, FieldFault> {
    let endpoint = resolve::endpoint(cluster, reference)?;
    if known.contains(&endpoint) {
        return Err(FieldFault::new(format!("duplicate endpoint {endpoint}")));
    }
    let is_ping = flows.is_some_and(|flows| flows.transport == Transport::Icmp);
    if is_ping && matches!(endpoint, EndpointName::Address(_)) {
        return Err(FieldFault::new("echo replies have no port").expected("pod/NAME"));
    }
    known.push(endpoint.clone());
    Ok(endpoint)
}

/// Checks that a drop reason with that name exists.
fn known_reason(name: &str) -> Result<(), FieldFault> {
    if DropReason::ALL.into_iter().any(|reason| DropObservation::is_named(reason, name)) {
        return Ok(());
    }
    let known: Vec<String> = DropReason::ALL.into_iter().map(DropObservation::reason_name).collect();
    let mut known: Vec<&str> = known.iter().map(String::as_str).collect();
    known.sort_unstable();
    known.dedup();
    let fault = FieldFault::new(format!("unknown drop reason {name:?}"));
    let fault = fault.expected(format!("one of {}", known.join(", ")));
    Err(match nearest(name, &known) {
        Some(nearest) => fault.help(format!("did you mean {nearest:?}?")),
        None => fault,
    })
}

fn conntrack_end(cluster: &Cluster, reference: &Reference) -> Result<(IpAddr, Option<u16>), FieldFault> {
    let address = IpAddr::V4(resolve::address(cluster, &reference.target)?);
    match &reference.port {
        None => Ok((address, None)),
        Some(PortReference::Number(port)) => Ok((address, Some(*port))),
        Some(PortReference::Name(name)) => {
            Err(FieldFault::new(format!("conntrack needs a port number, not the name {name:?}"))
                .expected(format!("{}:PORT", reference.target)))
        }
    }
}

/// The addresses that a viewpoint denotes.
fn addresses(
    cluster: &Cluster,
    viewpoint: &Viewpoint,
    flows: Option<&FlowPlan>,
) -> Result<Addresses, FieldFault> {
    let any_of: Vec<IpAddr> = match viewpoint {
        Viewpoint::Client => flows.iter().map(|flows| flows.client).collect(),
        Viewpoint::Node => {
            let via = flows.and_then(|flows| flows.via.as_deref()).ok_or_else(|| {
                FieldFault::new("these connections pass no node").expected("client, node/NAME or an address")
            })?;
            held_by_node(cluster, via)
        }
        Viewpoint::Bridge(name) => match cluster.node(name) {
            Some(node) => vec![node.pod_gateway.into()],
            None => vec![resolve::address(cluster, &Target::Node(name.clone()))?.into()],
        },
        Viewpoint::Of(target) => match target {
            Target::Node(name) if cluster.node(name).is_some() => held_by_node(cluster, name),
            Target::Name(name) if cluster.node(name).is_some() => held_by_node(cluster, name),
            Target::Host(_)
            | Target::Pod(_)
            | Target::Node(_)
            | Target::Service(_)
            | Target::Address(_)
            | Target::Name(_) => vec![resolve::address(cluster, target)?.into()],
        },
    };
    Ok(Addresses { words: viewpoint.to_string(), any_of })
}

/// The node's addresses on the node network and on its CNI bridge.
fn held_by_node(cluster: &Cluster, name: &str) -> Vec<IpAddr> {
    cluster.node(name).map(|node| vec![node.ip.into(), node.pod_gateway.into()]).unwrap_or_default()
}
