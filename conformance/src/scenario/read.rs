//! Converts the document to a scenario: parses references, shares and durations. Finds all faults in one pass.

mod expectation;
mod network;
mod step;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use ipnet::Ipv4Net;
use proxy_core::objects::Protocol;
use thiserror::Error;

use super::document::{RawDocument, ScalarText};
use super::reference::is_name;
use super::{FieldFault, ProxyMode, Reference, Scenario, ScriptProtocol, Share, Target, parse_duration};
use crate::yaml::{self, DecodeError, Node};

/// Why a document is not a valid scenario.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ReadError {
    /// Its structure is wrong.
    #[error(transparent)]
    Shape(#[from] DecodeError),
    /// Some fields are invalid; at least one.
    #[error("{} invalid fields", .0.len())]
    Fields(Vec<FieldFault>),
}

/// Reads a Scenario document, without checking it against manifests.
///
/// # Errors
/// The first structural error, or else all invalid fields.
pub fn read(node: &Node) -> Result<Scenario, ReadError> {
    let document: RawDocument = yaml::decode(node)?;
    let mut reader = Reader::default();
    let spec = document.spec;
    let name = &document.metadata.name;
    if !is_name(name) {
        let message = match name.is_empty() {
            true => "the scenario's name is empty".to_owned(),
            false => format!("invalid name {name:?}"),
        };
        let fault = FieldFault::new(message).expected("letters, digits, '-', '_' and '.'");
        reader.fault("metadata.name", fault);
    }
    let scenario = Scenario {
        name: document.metadata.name,
        intent: spec.intent,
        requirements: spec.requirements,
        proxy_modes: reader.proxy_modes(&spec.proxy_modes),
        network: reader.network(spec.network),
        steps: reader.steps(spec.steps, node),
    };
    if reader.faults.is_empty() { Ok(scenario) } else { Err(ReadError::Fields(reader.faults)) }
}

/// Collects faults. On a fault, methods return a placeholder or `None`, and continue.
#[derive(Default)]
struct Reader {
    faults: Vec<FieldFault>,
    /// Named connections so far.
    connections: BTreeMap<String, NamedConnection>,
}

/// What a name of a connection means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NamedConnection {
    /// That of a script, with this protocol.
    Script(ScriptProtocol),
    /// Connections that a step keeps open.
    Kept,
    /// Such connections, closed by a later step.
    Closed,
}

impl Reader {
    fn fault(&mut self, path: &str, fault: FieldFault) {
        self.faults.push(fault.at(path));
    }

    /// The value, or a fault at `path`.
    fn field<T>(&mut self, path: &str, result: Result<T, FieldFault>) -> Option<T> {
        result.map_err(|fault| self.fault(path, fault)).ok()
    }

    /// The value, or a fault at the key of `path`.
    fn key<T>(&mut self, path: &str, result: Result<T, FieldFault>) -> Option<T> {
        result.map_err(|fault| self.faults.push(fault.at_key(path))).ok()
    }

    fn proxy_modes(&mut self, names: &[String]) -> Vec<ProxyMode> {
        let mut modes = Vec::new();
        for (index, name) in names.iter().enumerate() {
            let path = format!("spec.proxyModes[{index}]");
            let known = ProxyMode::ALL.map(ProxyMode::name);
            let mode = ProxyMode::parse(name).ok_or_else(|| unknown_word("proxy mode", name, &known));
            match self.field(&path, mode) {
                Some(mode) if modes.contains(&mode) => {
                    self.fault(&path, FieldFault::new(format!("duplicate mode {mode}")));
                }
                Some(mode) => modes.push(mode),
                None => {}
            }
        }
        modes
    }

    fn reference(&mut self, path: &str, text: &str) -> Option<Reference> {
        self.field(path, Reference::parse(text))
    }

    fn target(&mut self, path: &str, text: &str) -> Option<Target> {
        self.field(path, Target::parse(text))
    }

    fn protocol(&mut self, path: &str, text: &str) -> Option<Protocol> {
        let protocol = match text.to_ascii_lowercase().as_str() {
            "tcp" => Ok(Protocol::Tcp),
            "udp" => Ok(Protocol::Udp),
            "sctp" => Ok(Protocol::Sctp),
            _ => Err(unknown_word("protocol", text, &["tcp", "udp", "sctp"])),
        };
        self.field(path, protocol)
    }

    fn duration(&mut self, path: &str, text: &ScalarText) -> Option<Duration> {
        let duration = parse_duration(&text.0).ok_or_else(|| {
            FieldFault::new(format!("invalid duration {:?}", text.0))
                .expected("a number with a unit, such as 250ms, 5s or 1m30s")
        });
        self.field(path, duration)
    }

    fn share(&mut self, path: &str, text: &ScalarText) -> Option<Share> {
        let share = Share::parse(&text.0).ok_or_else(|| {
            FieldFault::new(format!("invalid share {:?}", text.0)).expected(format!(
                "a number from 0 to 1: a fraction such as 1/3, or a decimal with up to {} places",
                Share::PLACES_MAX
            ))
        });
        self.field(path, share)
    }

    /// The MTU of a device with IPv4 (`inetdev_event`, net/ipv4/devinet.c: below 68 it loses its addresses).
    fn mtu(&mut self, path: &str, mtu: u16) -> Option<u16> {
        const MTU_MIN: u16 = 68;
        let fault = || FieldFault::new(format!("invalid MTU {mtu}")).expected("68 to 65535 bytes");
        self.field(path, (mtu >= MTU_MIN).then_some(mtu).ok_or_else(fault))
    }

    fn address(&mut self, path: &str, text: &str) -> Option<Ipv4Addr> {
        let address = text.parse().map_err(|_| not_ipv4(text, "an IPv4 address"));
        self.field(path, address)
    }

    fn cidr(&mut self, path: &str, text: &str) -> Option<Ipv4Net> {
        let cidr = text.parse::<Ipv4Net>().map_err(|_| not_ipv4(text, "an IPv4 CIDR such as 10.244.0.0/16"));
        let cidr = self.field(path, cidr)?;
        if cidr.addr() == cidr.network() {
            return Some(cidr);
        }
        let fault = FieldFault::new(format!("{cidr} has host bits set"))
            .expected(format!("the network address, {}", cidr.trunc()));
        self.fault(path, fault);
        None
    }
}

fn not_ipv4(text: &str, expected: &str) -> FieldFault {
    let fault = FieldFault::new(format!("invalid address {text:?}")).expected(expected);
    let is_ipv6 = text.contains(':');
    if is_ipv6 { fault.help("IPv6 is not implemented yet") } else { fault }
}

/// An unknown word, with the nearest known one as a suggestion.
pub(crate) fn unknown_word(what: &str, word: &str, known: &[&str]) -> FieldFault {
    let fault =
        FieldFault::new(format!("unknown {what} {word:?}")).expected(format!("one of {}", known.join(", ")));
    match nearest(word, known) {
        Some(nearest) => fault.help(format!("did you mean {nearest:?}?")),
        None => fault,
    }
}

/// The known word that was probably intended.
pub(crate) fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    // One typo per three characters: a letter inserted, missing, wrong, or two swapped.
    let distance_max = (word.chars().count() / 3).max(1);
    known
        .iter()
        // The distance is at least the difference in length, and computing it costs the product of the lengths.
        .filter(|candidate| word.chars().count().abs_diff(candidate.chars().count()) <= distance_max)
        .map(|candidate| (strsim::osa_distance(word, candidate), *candidate))
        .filter(|(distance, _)| *distance <= distance_max)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}
