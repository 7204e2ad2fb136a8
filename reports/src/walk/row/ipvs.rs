//! Decisions of IPVS and their effects.

use super::{Row, RowContext, at_hook};
use crate::palette::Tone;
use crate::walk::WalkStep;
use sim::ipvs::{FlowKey, Refusal, ServiceKey, State};
use sim::trace::IpvsEvent;
use sim::wire::rewrite::Side;
use std::net::SocketAddr;

pub(super) fn row(words: &RowContext<'_>, step: &WalkStep<'_>, event: &IpvsEvent) -> Row {
    let place = at_hook(step.hook, "ipvs");
    match event {
        IpvsEvent::Scheduled { service, scheduler, why, flow, server, state } => {
            let (service, scheduler) = (service_name(*service), scheduler.name());
            let server = end(words, *server);
            let connection = connection(words, flow, *state);
            Row::new(place, format!("service {service} {scheduler}: {server}, {why}; new {connection}"))
                .tone(Tone::Change)
        }
        IpvsEvent::Found { flow, server, state } => {
            Row::new(place, format!("{} to {}", connection(words, flow, *state), end(words, *server)))
        }
        IpvsEvent::Replied { flow, server, state } => {
            let (server, connection) = (end(words, *server), connection(words, flow, *state));
            Row::new(place, format!("reply of {server} to {connection}"))
        }
        IpvsEvent::Refused(refusal) => Row::new(place, refused(*refusal)).tone(Tone::Bad),
        IpvsEvent::Translated { side, from, to } => {
            let (side, from, to) = (side_name(*side), end(words, *from), end(words, *to));
            Row::new(place, format!("{side} {from} -> {to}")).tone(Tone::Change)
        }
        IpvsEvent::ErrorTranslated { side, to } => {
            let quoted = side_name(side.opposite());
            let text = format!("{} -> {}, {quoted} of the quote too", side_name(*side), end(words, *to));
            Row::new(place, text).tone(Tone::Change)
        }
        IpvsEvent::Encapsulated { server } => {
            Row::new(place, format!("in an IPIP packet to {server}")).tone(Tone::Change)
        }
        IpvsEvent::Untracked => Row::new(place, "UNTRACKED: net.ipv4.vs.conntrack is 0"),
        IpvsEvent::ConntrackAltered { entry: _, old_reply, new_reply } => {
            let (old, new) = (words.tuple(old_reply), words.tuple(new_reply));
            Row::new(place, format!("conntrack entry: reply {old} becomes {new}")).tone(Tone::Change)
        }
    }
}

/// `TCP 10.96.0.10:80`, `fwmark 7`.
fn service_name(key: ServiceKey) -> String {
    match key {
        ServiceKey::Addr { protocol, addr } => format!("{} {addr}", protocol.name()),
        ServiceKey::Mark { is_ipv6: false, mark } => format!("fwmark {mark}"),
        ServiceKey::Mark { is_ipv6: true, mark } => format!("fwmark {mark} (IPv6)"),
    }
}

/// `connection 192.168.0.100:40000 -> 10.96.0.10:80 ESTABLISHED`.
fn connection(words: &RowContext<'_>, flow: &FlowKey, state: State) -> String {
    format!("connection {} -> {} {}", end(words, flow.client), end(words, flow.peer), state.name())
}

fn end(words: &RowContext<'_>, addr: SocketAddr) -> String {
    words.endpoint(addr.ip(), addr.port())
}

fn refused(refusal: Refusal) -> String {
    match refusal {
        Refusal::NoServer(service) => {
            format!("service {}: no server accepts new connections", service_name(service))
        }
        Refusal::DropRate => "drop_packet drops this new connection".to_owned(),
        Refusal::ServerGone => "the server of the connection was deleted".to_owned(),
        Refusal::OldConntrack => {
            "reopens a connection: its conntrack entry ends first, the next attempt succeeds".to_owned()
        }
        Refusal::NoAssociation => "belongs to no SCTP association and opens none".to_owned(),
        Refusal::Pass(_) => "passes".to_owned(),
    }
}

const fn side_name(side: Side) -> &'static str {
    match side {
        Side::Src => "src",
        Side::Dst => "dst",
    }
}
