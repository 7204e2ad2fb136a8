//! Reads `expect`.

use std::collections::BTreeMap;

use indexmap::IndexMap;

use super::{FieldFault, Reader, unknown_word};
use crate::scenario::document::{self, OneOrByName, RawEndpoints, ScalarText};
use crate::scenario::expectation::OUTCOME_NAMES;
use crate::scenario::reference::is_name;
use crate::scenario::{
    ConntrackExpectation, Dropped, Expectation, Expectations, FlowStatus, OutcomePattern, ProxyMode,
    Reference, Share, SourceSeen, Target, Viewpoint,
};

impl Reader {
    pub(super) fn expectations(&mut self, path: &str, mut raw: document::RawExpectations) -> Expectations {
        let plain = raw.take_plain();
        let variants = [
            (ProxyMode::Iptables, raw.iptables),
            (ProxyMode::Ipvs, raw.ipvs),
            (ProxyMode::Nftables, raw.nftables),
            (ProxyMode::Userspace, raw.userspace),
        ];
        let by_mode: BTreeMap<_, _> = variants
            .into_iter()
            .filter_map(|(mode, expectation)| {
                let path = format!("{path}.{mode}");
                expectation.map(|expectation| (mode, self.expectation(&path, expectation)))
            })
            .collect();
        let default = raw.default.map(|default| self.expectation(&format!("{path}.default"), default));
        let has_variants = !by_mode.is_empty() || default.is_some();
        if !has_variants {
            return Expectations { default: Some(self.expectation(path, plain)), by_mode };
        }
        if !plain.is_empty() {
            let fault = FieldFault::new("expectations for all modes are mixed with expectations by mode")
                .help("move those for all other modes to `default`");
            self.fault(path, fault);
        }
        Expectations { default, by_mode }
    }

    fn expectation(&mut self, path: &str, raw: document::RawExpectation) -> Expectation {
        if raw.is_empty() {
            self.expects_nothing(
                path,
                "outcome, outcomes, endpoints, sourceSeen, replyFrom, status, addresses, dropped or conntrack",
            );
        }
        if raw.outcome.is_some() && raw.outcomes.is_some() {
            let fault = FieldFault::new(
                "`outcome` is the same for every flow, `outcomes` are several: use one of them",
            );
            self.faults.push(fault.at_key(format!("{path}.outcomes")));
        }
        let outcome = raw.outcome.and_then(|text| self.field(&format!("{path}.outcome"), outcome(&text)));
        let outcomes = raw.outcomes.map(|shares| self.outcomes(&format!("{path}.outcomes"), &shares));
        let endpoints_path = format!("{path}.endpoints");
        let (endpoints, sequence) = match raw.endpoints {
            None => (None, Vec::new()),
            Some(RawEndpoints::Shares(shares)) => {
                (Some(self.endpoints(&endpoints_path, &shares)), Vec::new())
            }
            Some(RawEndpoints::InOrder(list)) => (None, self.sequence(&endpoints_path, &list)),
        };
        let source_seen =
            raw.source_seen.and_then(|seen| self.source_seen(&format!("{path}.sourceSeen"), seen));
        let reply_from =
            raw.reply_from.and_then(|text| self.field(&format!("{path}.replyFrom"), viewpoint(&text)));
        let addresses = raw.addresses.map(|texts| {
            let texts = texts.iter().enumerate();
            let targets =
                texts.filter_map(|(index, text)| self.target(&format!("{path}.addresses[{index}]"), text));
            targets.collect()
        });
        let dropped = raw.dropped.and_then(|dropped| {
            let on = self.target(&format!("{path}.dropped.on"), &dropped.on)?;
            Some(Dropped { on, reason: dropped.reason })
        });
        let conntrack = raw.conntrack.map(|list| self.conntracks(&format!("{path}.conntrack"), &list));
        Expectation {
            outcome,
            outcomes: outcomes.unwrap_or_default(),
            endpoints,
            sequence,
            source_seen,
            reply_from,
            status: raw.status,
            addresses,
            dropped,
            conntrack: conntrack.unwrap_or_default(),
        }
    }

    /// An expectation that always holds is a mistake: its author believes that something is checked.
    fn expects_nothing(&mut self, path: &str, expected: &str) {
        self.faults.push(FieldFault::new("this expectation always holds").expected(expected).at_key(path));
    }

    /// Every connection has exactly one outcome.
    fn outcomes(&mut self, path: &str, raw: &IndexMap<String, ScalarText>) -> Vec<(OutcomePattern, Share)> {
        if raw.is_empty() {
            self.expects_nothing(path, "outcomes with shares, such as connected: 1");
            return Vec::new();
        }
        let outcomes = self.shares(path, raw, outcome);
        for (index, (pattern, _)) in outcomes.iter().enumerate() {
            let Some((other, _)) = outcomes[..index].iter().find(|(other, _)| other.overlaps(*pattern))
            else {
                continue;
            };
            let fault = FieldFault::new(format!("{pattern} and {other} overlap"))
                .expected("mutually exclusive outcomes");
            self.faults.push(fault.at_key(format!("{path}.{pattern}")));
        }
        // If one of them is invalid, their sum is meaningless.
        if outcomes.len() == raw.len() && !is_all(&outcomes) {
            let fault = FieldFault::new("these shares do not add up to 1")
                .expected("shares of all outcomes that occur");
            self.faults.push(fault.at_key(path));
        }
        outcomes
    }

    /// Some connections may have no response.
    fn endpoints(&mut self, path: &str, raw: &IndexMap<String, ScalarText>) -> Vec<(Reference, Share)> {
        let endpoints = self.shares(path, raw, endpoint);
        if sum(&endpoints) > 1.0 + rounding(&endpoints) {
            self.faults.push(FieldFault::new("these shares add up to more than 1").at_key(path));
        }
        endpoints
    }

    /// A list of no connection would always hold.
    fn sequence(&mut self, path: &str, raw: &[String]) -> Vec<Reference> {
        if raw.is_empty() {
            self.expects_nothing(path, "the endpoint of each connection, or {} if none answers");
        }
        let endpoints = raw.iter().enumerate();
        endpoints
            .filter_map(|(index, text)| self.field(&format!("{path}[{index}]"), endpoint(text)))
            .collect()
    }

    fn shares<T>(
        &mut self,
        path: &str,
        raw: &IndexMap<String, ScalarText>,
        read_key: fn(&str) -> Result<T, FieldFault>,
    ) -> Vec<(T, Share)> {
        let mut shares = Vec::new();
        for (key, text) in raw {
            let path = format!("{path}.{key}");
            let read = self.key(&path, read_key(key));
            let share = self.share(&path, text);
            shares.extend(read.zip(share));
        }
        shares
    }

    fn source_seen(&mut self, path: &str, raw: OneOrByName) -> Option<SourceSeen> {
        match raw {
            OneOrByName::One(text) => self.field(path, viewpoint(&text)).map(SourceSeen::All),
            OneOrByName::ByName(by_name) if by_name.is_empty() => {
                self.expects_nothing(path, "a source, or sources by endpoint");
                None
            }
            OneOrByName::ByName(by_name) => {
                let mut seen = Vec::new();
                for (key, text) in &by_name {
                    let path = format!("{path}.{key}");
                    let endpoint = self.key(&path, endpoint(key));
                    let viewpoint = self.field(&path, viewpoint(text));
                    seen.extend(endpoint.zip(viewpoint));
                }
                Some(SourceSeen::ByEndpoint(seen))
            }
        }
    }

    fn conntracks(&mut self, path: &str, raw: &[document::RawConntrack]) -> Vec<ConntrackExpectation> {
        if raw.is_empty() {
            self.expects_nothing(path, "what to count, such as {on: node-1, entries: 0}");
        }
        let raw = raw.iter().enumerate();
        raw.filter_map(|(index, raw)| self.conntrack(&format!("{path}[{index}]"), raw)).collect()
    }

    fn conntrack(&mut self, path: &str, raw: &document::RawConntrack) -> Option<ConntrackExpectation> {
        let on = self.target(&format!("{path}.on"), &raw.on);
        let protocol =
            raw.protocol.as_ref().and_then(|text| self.protocol(&format!("{path}.protocol"), text));
        let from = raw.from.as_ref().and_then(|text| self.reference(&format!("{path}.from"), text));
        let to = raw.to.as_ref().and_then(|text| self.reference(&format!("{path}.to"), text));
        let status = raw.status.as_deref().and_then(|text| {
            let status = match text {
                "unreplied" => Ok(FlowStatus::Unreplied),
                "replied" => Ok(FlowStatus::Replied),
                _ => Err(unknown_word("status", text, &["unreplied", "replied"])),
            };
            self.field(&format!("{path}.status"), status)
        });
        Some(ConntrackExpectation { on: on?, protocol, from, to, status, entries: raw.entries })
    }
}

fn outcome(text: &str) -> Result<OutcomePattern, FieldFault> {
    OutcomePattern::parse(text)
        .ok_or_else(|| unknown_word("outcome", text, &OUTCOME_NAMES.map(|(name, _)| name)))
}

/// The rounding error of a sum of shares written as decimals: `0.333333333`, three times.
fn rounding<T>(shares: &[(T, Share)]) -> f64 {
    const LAST_PLACE: f64 = 1e-9;
    shares.iter().map(|_| LAST_PLACE).sum()
}

fn sum<T>(shares: &[(T, Share)]) -> f64 {
    shares.iter().map(|(_, share)| share.as_f64()).sum()
}

fn is_all<T>(shares: &[(T, Share)]) -> bool {
    (sum(shares) - 1.0).abs() <= rounding(shares)
}

/// Parses an endpoint: a Pod, an external host, or an address.
fn endpoint(text: &str) -> Result<Reference, FieldFault> {
    let reference = Reference::parse(text)?;
    match reference.target {
        Target::Pod(_) | Target::Host(_) | Target::Address(_) | Target::Name(_) => Ok(reference),
        Target::Node(_) | Target::Service(_) => Err(FieldFault::new(format!("{text:?} is not an endpoint"))
            .expected("pod/[NAMESPACE/]NAME, host/NAME or ADDRESS:PORT")),
    }
}

fn viewpoint(text: &str) -> Result<Viewpoint, FieldFault> {
    match text {
        "client" => Ok(Viewpoint::Client),
        "node" => Ok(Viewpoint::Node),
        _ => match text.strip_prefix("bridge/") {
            Some(node) if is_name(node) => Ok(Viewpoint::Bridge(node.to_owned())),
            Some(_) | None => Target::parse(text).map(Viewpoint::Of).map_err(|fault| {
                fault.expected(
                    "client, node, bridge/NODE, pod/NAME, node/NAME, service/NAME, host/NAME or an address",
                )
            }),
        },
    }
}
