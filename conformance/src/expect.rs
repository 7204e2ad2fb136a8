//! Checks observations against expectations.

use std::net::Ipv4Addr;

use sim::draws::Weight;

use crate::dns::Resolved;
use crate::netns::NetnsName;
use crate::observation::{
    ConntrackObservation, DropObservation, DropReason, EndpointName, FlowObservation, Mismatch,
};
use crate::prepare::{Addresses, ConntrackFilter, EndpointAddresses, PreparedExpectation};
use crate::result::{EndpointShare, Failure, Subject};
use crate::scenario::{FlowStatus, OutcomePattern};
use crate::shares::{self, Distribution};

/// The observations of a step.
#[derive(Debug, Clone, Default)]
pub struct Observed {
    /// Connections.
    pub flows: Vec<FlowObservation>,
    /// How often each endpoint answered.
    pub shares: Vec<EndpointShare>,
    /// The exact distribution of one connection, if the arm can determine it.
    pub distribution: Option<Distribution>,
    /// Dropped packets of the connections; `None` if the arm cannot observe drops.
    pub drops: Option<Vec<DropObservation>>,
    /// The resolved name; `None` if there was no query or no response.
    pub resolved: Option<Resolved>,
    /// The line of a script that did not go as written.
    pub mismatch: Option<Mismatch>,
    /// The table of each conntrack expectation; `None` if the arm cannot read it.
    pub conntrack: Vec<Option<Vec<ConntrackObservation>>>,
}

/// Failed expectations, and those that could not be checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Evaluation {
    /// Failed expectations.
    pub failures: Vec<Failure>,
    /// Expectations that this arm cannot check.
    pub unseen: Vec<Subject>,
}

/// The expectations as text.
pub fn words(expected: &PreparedExpectation) -> Vec<(Subject, String)> {
    let mut words = Vec::new();
    words.extend(expected.outcome.map(|pattern| (Subject::Outcome, pattern.to_string())));
    let shares = |list: Vec<String>| if list.is_empty() { "none".to_owned() } else { list.join(", ") };
    if !expected.outcomes.is_empty() {
        let list = expected.outcomes.iter().map(|(pattern, share)| format!("{pattern} {share}"));
        words.push((Subject::Outcome, shares(list.collect())));
    }
    if let Some(endpoints) = &expected.endpoints {
        let list = endpoints.iter().map(|(endpoint, share)| format!("{endpoint} {share}"));
        words.push((Subject::Endpoints, shares(list.collect())));
    }
    if !expected.sequence.is_empty() {
        words.push((Subject::Endpoints, sequence_words(expected.sequence.iter().map(Some))));
    }
    for EndpointAddresses { endpoint, addresses } in &expected.source_seen {
        let by = endpoint.as_ref().map_or_else(String::new, |endpoint| format!(" by {endpoint}"));
        words.push((Subject::SourceSeen, format!("{addresses}{by}")));
    }
    words.extend(expected.reply_from.as_ref().map(|addresses| (Subject::ReplyFrom, addresses.to_string())));
    words.extend(expected.status.map(|status| (Subject::Status, status.to_string())));
    words.extend(expected.addresses.as_ref().map(|addresses| (Subject::Addresses, address_words(addresses))));
    words.extend(expected.dropped.as_ref().map(|(netns, reason)| {
        let because = reason.as_ref().map_or_else(String::new, |reason| format!(", {reason}"));
        (Subject::Dropped, format!("on {netns}{because}"))
    }));
    words.extend(expected.conntrack.iter().map(|filter| (Subject::Conntrack, filter.to_string())));
    words
}

/// Compares observations with expectations.
pub fn check(expected: &PreparedExpectation, observed: &Observed) -> Evaluation {
    let mut verdict = Evaluation::default();
    verdict.failures.extend(observed.mismatch.as_ref().map(|mismatch| Failure {
        subject: Subject::Segments,
        expected: format!("line {}: {}", mismatch.number, mismatch.line),
        found: mismatch.found.clone(),
    }));
    if let Some(pattern) = expected.outcome {
        verdict.failures.extend(check_outcome(pattern, observed));
    }
    if !expected.outcomes.is_empty() {
        let distribution = observed.distribution.as_ref();
        verdict.failures.extend(shares::check_outcomes(&observed.flows, distribution, &expected.outcomes));
    }
    if expected.endpoints.is_some() {
        verdict.failures.extend(shares::check_endpoints(&observed.shares));
    }
    verdict.failures.extend(check_sequence(&expected.sequence, observed));
    for addresses in &expected.source_seen {
        verdict.failures.extend(check_source(addresses, &observed.flows));
    }
    if let Some(addresses) = &expected.reply_from {
        verdict.failures.extend(check_reply_from(addresses, &observed.flows));
    }
    if let Some(status) = expected.status {
        verdict.failures.extend(check_status(status, &observed.flows));
    }
    if let Some(addresses) = &expected.addresses {
        verdict.failures.extend(check_addresses(addresses, observed.resolved.as_ref()));
    }
    if let Some((netns, reason)) = &expected.dropped {
        match &observed.drops {
            Some(drops) => verdict.failures.extend(check_drops(netns, reason.as_deref(), drops)),
            None => verdict.unseen.push(Subject::Dropped),
        }
    }
    for (filter, table) in expected.conntrack.iter().zip(&observed.conntrack) {
        match table {
            Some(table) => verdict.failures.extend(check_conntrack(filter, table)),
            None => verdict.unseen.push(Subject::Conntrack),
        }
    }
    verdict
}

/// Checks that every flow has this outcome. If there is an exact distribution (there is none if links may lose frames),
/// other outcomes must be impossible.
fn check_outcome(pattern: OutcomePattern, observed: &Observed) -> Option<Failure> {
    let others: Vec<_> = observed.flows.iter().filter(|flow| !pattern.fits(flow.outcome)).collect();
    let failure = |found| Failure { subject: Subject::Outcome, expected: pattern.to_string(), found };
    if let Some(first) = others.first() {
        let outcome = OutcomePattern::exactly(first.outcome);
        let found = match (others.len(), observed.flows.len()) {
            (1, 1) => outcome.to_string(),
            (count, total) => format!("{outcome} ({count} of {total} connections had another outcome)"),
        };
        return Some(failure(found));
    }
    let possible = observed.distribution.iter().flat_map(|distribution| &distribution.weights);
    let mut otherwise = possible.filter(|((outcome, _), _)| !pattern.fits(*outcome));
    otherwise.next().map(|((outcome, _), weight)| {
        let outcome = OutcomePattern::exactly(*outcome);
        failure(format!("{outcome} with probability {weight} ({:.6})", shares::approximation(weight)))
    })
}

/// Checks who answered each connection. If there is an exact distribution, chance must have no part in it.
fn check_sequence(expected: &[EndpointName], observed: &Observed) -> Option<Failure> {
    let first = expected.first()?;
    let failure = |found| Failure {
        subject: Subject::Endpoints,
        expected: sequence_words(expected.iter().map(Some)),
        found,
    };
    let answered = || observed.flows.iter().map(|flow| flow.endpoint.as_ref());
    if !answered().eq(expected.iter().map(Some)) {
        return Some(failure(sequence_words(answered())));
    }
    let weight = observed.distribution.as_ref()?.of_endpoint(Some(first));
    (weight < Weight::new(1, 0)).then(|| {
        failure(format!("a random choice, {first} with probability {:.6}", shares::approximation(&weight)))
    })
}

/// `pod/web-0, then pod/web-1, then nobody`
fn sequence_words<'a>(endpoints: impl Iterator<Item = Option<&'a EndpointName>>) -> String {
    let name = |endpoint: Option<&EndpointName>| endpoint.map_or("nobody".to_owned(), ToString::to_string);
    endpoints.map(name).collect::<Vec<_>>().join(", then ")
}

fn check_source(expected: &EndpointAddresses, flows: &[FlowObservation]) -> Option<Failure> {
    let EndpointAddresses { endpoint, addresses } = expected;
    let concerned = |flow: &&FlowObservation| match endpoint {
        Some(endpoint) => flow.endpoint.as_ref() == Some(endpoint),
        None => flow.endpoint.is_some(),
    };
    let mut concerned = flows.iter().filter(concerned).peekable();
    let who = endpoint.as_ref().map_or_else(String::new, |endpoint| format!("{endpoint} to see "));
    let failure =
        |found| Failure { subject: Subject::SourceSeen, expected: format!("{who}{addresses}"), found };
    if concerned.peek().is_none() {
        return Some(failure("no answered connection".to_owned()));
    }
    let wrong = concerned.find(|flow| flow.source_seen.is_none_or(|seen| !addresses.contains(seen)))?;
    let endpoint = wrong.endpoint.as_ref().map(|endpoint| format!(" by {endpoint}")).unwrap_or_default();
    Some(failure(match wrong.source_seen {
        Some(seen) => format!("{seen}, seen{endpoint}"),
        None => "a response without it".to_owned(),
    }))
}

fn check_reply_from(addresses: &Addresses, flows: &[FlowObservation]) -> Option<Failure> {
    let wrong = flows.iter().find(|flow| flow.reply_from.is_none_or(|from| !addresses.contains(from)))?;
    let found = wrong.reply_from.map_or_else(|| "no response".to_owned(), |from| from.to_string());
    Some(Failure { subject: Subject::ReplyFrom, expected: addresses.to_string(), found })
}

fn check_status(status: u16, flows: &[FlowObservation]) -> Option<Failure> {
    let wrong = flows.iter().find(|flow| flow.status != Some(status))?;
    let found = wrong.status.map_or_else(|| "no response over HTTP".to_owned(), |found| found.to_string());
    Some(Failure { subject: Subject::Status, expected: status.to_string(), found })
}

fn address_words(addresses: &[Ipv4Addr]) -> String {
    let is_found = !addresses.is_empty();
    Resolved { is_found, aliases: Vec::new(), addresses: addresses.to_vec(), is_truncated: false }.to_string()
}

fn check_addresses(expected: &[Ipv4Addr], resolved: Option<&Resolved>) -> Option<Failure> {
    // The missing part is unknown, so a truncated response never matches.
    let whole = resolved.filter(|resolved| !resolved.is_truncated);
    let mut found = whole.map(|resolved| resolved.addresses.clone());
    found.iter_mut().for_each(|addresses| addresses.sort_unstable());
    if found.as_deref() == Some(expected) {
        return None;
    }
    let found = resolved.map_or_else(|| "no response".to_owned(), ToString::to_string);
    Some(Failure { subject: Subject::Addresses, expected: address_words(expected), found })
}

fn check_drops(netns: &NetnsName, reason: Option<&str>, drops: &[DropObservation]) -> Option<Failure> {
    let fits = |drop: &DropObservation| {
        let is_meant = match reason {
            Some(reason) => DropObservation::is_named(drop.reason, reason),
            None => !is_background(drop.reason),
        };
        drop.netns == *netns && is_meant
    };
    if drops.iter().any(fits) {
        return None;
    }
    let because = reason.map(|reason| format!(" with reason {reason}")).unwrap_or_default();
    let mut found: Vec<String> =
        drops.iter().filter(|drop| !is_background(drop.reason)).map(ToString::to_string).collect();
    found.dedup();
    Some(Failure {
        subject: Subject::Dropped,
        expected: format!("a packet to be dropped on {netns}{because}"),
        found: if found.is_empty() { "no dropped packet".to_owned() } else { found.join(", ") },
    })
}

/// True for the reasons with which flooded frames end at hosts other than the destination.
const fn is_background(reason: DropReason) -> bool {
    matches!(reason, DropReason::OtherHost | DropReason::ArpNotForUs | DropReason::NotForUs)
}

fn check_conntrack(filter: &ConntrackFilter, table: &[ConntrackObservation]) -> Option<Failure> {
    let matching: Vec<_> = table.iter().filter(|entry| fits(filter, entry)).collect();
    if u32::try_from(matching.len()) == Ok(filter.entries) {
        return None;
    }
    let found = match &matching[..] {
        [] => format!("none among {}", table.len()),
        matching => {
            let list: Vec<_> = matching.iter().map(ToString::to_string).collect();
            format!("{}: {}", list.len(), list.join(", "))
        }
    };
    Some(Failure { subject: Subject::Conntrack, expected: filter.to_string(), found })
}

fn fits(filter: &ConntrackFilter, entry: &ConntrackObservation) -> bool {
    let end_fits = |expected: &Option<(std::net::IpAddr, Option<u16>)>, end: std::net::SocketAddr| {
        expected
            .is_none_or(|(address, port)| address == end.ip() && port.is_none_or(|port| port == end.port()))
    };
    filter.protocol.is_none_or(|protocol| protocol == entry.protocol)
        && end_fits(&filter.from, entry.original.0)
        && end_fits(&filter.to, entry.original.1)
        && match filter.status {
            None => true,
            Some(FlowStatus::Replied) => entry.is_replied,
            Some(FlowStatus::Unreplied) => !entry.is_replied,
        }
}

#[cfg(test)]
mod tests;
