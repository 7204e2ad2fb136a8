//! One question about a cluster, without a Scenario document: what happens to a connection from here to there?
//!
//! [`prepare()`] turns the question into a scenario with one step; [`courses`] runs every course that the connection may
//! take, each with its probability.

mod names;

pub use names::NameError;

use std::net::Ipv4Addr;

use serde_json::json;

use crate::diagnostic::{Diagnostic, Source, SourceId};
use crate::manifest::{self, LoadedScenario, Manifests};
use crate::prepare::{self, Prepared, Refused};
use crate::scenario::{ExternalHost, Network};

pub use crate::runner::courses;

/// The name of the text that the question becomes, in diagnostics.
const SOURCE: &str = "the question";

/// A question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The client: a Pod, a node, an external host, or an address.
    pub from: String,
    /// The destination: a Service, a Pod, a node, an external host or an address, with a port if it needs one.
    pub to: String,
    /// The protocol.
    pub protocol: QuestionProtocol,
    /// The node that is the gateway of a client outside the cluster; the first one by default.
    pub via: Option<String>,
}

/// The protocol of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuestionProtocol {
    /// A TCP connection.
    Tcp,
    /// A datagram and its response.
    Udp,
    /// An echo request.
    Icmp,
}

/// Why a question was not asked.
#[derive(Debug)]
pub enum QuestionError {
    /// The manifests have errors, or the step that the question became has.
    Refused(Box<Refused>),
    /// Nothing has that name.
    Name(NameError),
}

/// The scenario that asks the question: its only step is the connection. A Scenario document among the manifests describes
/// the network; its steps are ignored.
///
/// # Errors
/// See [`QuestionError`].
pub fn prepare(mut manifests: Manifests, question: &Question) -> Result<Prepared, QuestionError> {
    let (cluster, ..) = prepare::settle(manifests.clone()).map_err(QuestionError::Refused)?;
    let mut network =
        manifests.scenarios.first().map_or_else(Network::default, |first| first.scenario.network.clone());
    let client = names::client(&cluster, question).map_err(QuestionError::Name)?;
    let to = names::destination(&cluster, &question.to).map_err(QuestionError::Name)?;
    network.external_hosts.extend(client.assumed);
    let mut asked = manifest::load(vec![step(&client.reference, &to, question.protocol)]);
    let source = SourceId(manifests.sources.len());
    manifests.sources.append(&mut asked.sources);
    manifests.diagnostics.extend(asked.diagnostics.into_iter().map(|one| moved(one, source)));
    manifests.scenarios = asked
        .scenarios
        .into_iter()
        .map(|mut loaded| {
            loaded.origin.source = source;
            loaded.scenario.network = network.clone();
            loaded
        })
        .collect::<Vec<LoadedScenario>>();
    prepare::prepare(manifests).map_err(QuestionError::Refused)
}

/// The question as a Scenario document. Strings of JSON are strings of YAML, however they are quoted.
fn step(from: &str, to: &str, protocol: QuestionProtocol) -> Source {
    let (action, fields) = match protocol {
        QuestionProtocol::Tcp => ("connect", json!({"from": from, "to": to})),
        QuestionProtocol::Udp => ("connect", json!({"from": from, "to": to, "protocol": "udp"})),
        QuestionProtocol::Icmp => ("ping", json!({"from": from, "to": to})),
    };
    let text = format!(
        "apiVersion: hairpin/v1\nkind: Scenario\nmetadata: {{name: question}}\nspec:\n  steps:\n  - {action}: {fields}\n"
    );
    Source { name: SOURCE.to_owned(), text }
}

fn moved(mut diagnostic: Diagnostic, source: SourceId) -> Diagnostic {
    diagnostic.place.source = source;
    diagnostic
}

/// A client outside the cluster, on the nodes' network, with a gateway for addresses elsewhere.
fn outside(name: String, ip: Ipv4Addr, gateway: &str) -> ExternalHost {
    let gateway = Some(crate::scenario::Via::Node(gateway.to_owned()));
    ExternalHost { name, ip, gateway, routes: Vec::new(), listen: Vec::new() }
}

#[cfg(test)]
mod tests;
