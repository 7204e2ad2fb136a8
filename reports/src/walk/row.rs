//! Steps as text: one [`Row`] per step, and one small printer per family of events.

mod conntrack;
mod device;
mod ipvs;
mod nat;
mod packet;
mod route;
mod rule;
mod socket;

pub use packet::origin;

use super::{Ending, Hop, Journey, WalkStep, WalkStepKind};
use crate::frame::{FrameLine, Origins, PacketKind};
use crate::names::Names;
use crate::palette::Tone;
use sim::hook::Hook;
use sim::ids::{DeviceId, NetnsId};
use sim::time::Instant;
use sim::trace::{ConntrackEvent, HookEvent};
use sim::tuple::{L4Key, Tuple};
use std::borrow::Cow;
use std::net::IpAddr;

/// A step as text.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Row {
    /// The place in the stack: `PREROUTING nat`, `route`, `eth0 in`.
    pub place: String,
    /// Where the rule was loaded from, for a rule: `iptables.rules:31`.
    pub source: Option<String>,
    /// What happened.
    pub text: String,
    /// The effect, where the text does not already say it.
    pub effect: Option<String>,
    /// The tone.
    pub tone: Tone,
}

impl Row {
    fn new(place: impl Into<String>, text: impl Into<String>) -> Self {
        Self { place: place.into(), source: None, text: text.into(), effect: None, tone: Tone::Plain }
    }

    fn tone(self, tone: Tone) -> Self {
        Self { tone, ..self }
    }
}

/// Level of detail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Everything.
    Exact,
    /// Everything except ports, sequence numbers and socket ids, which differ between equivalent flows.
    Alike,
}

/// What the printers need besides the event.
#[derive(Clone, Copy, Debug)]
pub struct RowContext<'a> {
    /// Names of netns and devices.
    pub names: Names<'a>,
    /// Level of detail.
    pub detail: Detail,
    /// What TCP numbers are relative to.
    pub origins: Origins,
}

impl<'a> RowContext<'a> {
    /// Full detail for a journey.
    pub fn exact(names: Names<'a>, journey: &Journey<'_>) -> Self {
        Self { names, detail: Detail::Exact, origins: journey.origins.unwrap_or_default() }
    }

    /// For events outside of packet processing.
    pub fn background(names: Names<'a>) -> Self {
        Self { names, detail: Detail::Exact, origins: Origins::default() }
    }

    /// The text of a journey without the parts that differ between equivalent flows.
    ///
    /// Two journeys with equal outlines met the same devices, hooks, rules, verdicts and addresses: showing one of them
    /// is enough.
    pub fn outline(names: Names<'a>, journey: &Journey<'_>) -> Outline {
        let words = RowContext { detail: Detail::Alike, ..RowContext::background(names) };
        Outline {
            beginning: journey.beginning.map(|it| (it.netns, origin(it.origin), words.frame(it.frame))),
            hops: journey
                .hops
                .iter()
                .map(|hop| (hop.netns, words.rows(hop).into_iter().map(|(_, row)| row).collect()))
                .collect(),
            ending: journey.ending.map(|it| (it.netns, words.ending(&it))),
        }
    }

    /// The rows of a hop, each with its time.
    pub fn rows(&self, hop: &Hop<'_>) -> Vec<(Instant, Row)> {
        let mut rows: Vec<(Instant, Row)> = Vec::with_capacity(hop.steps.len());
        let mut before: Option<&WalkStep<'_>> = None;
        for step in &hop.steps {
            match join(before, step) {
                Join::Apart => {
                    let row = self.row(hop.netns, step);
                    // A socket looks up its route more than once before it sends; one row is enough.
                    if rows.last().is_none_or(|(at, last)| (*at, last) != (step.at, &row)) {
                        rows.push((step.at, row));
                    }
                }
                Join::Accepted => {
                    if let Some((_, row)) = rows.last_mut() {
                        row.text.push_str(": accept");
                    }
                }
                Join::Said => {}
            }
            before = Some(step);
        }
        rows
    }

    /// One step as text.
    pub fn row(&self, netns: NetnsId, step: &WalkStep<'_>) -> Row {
        match step.kind {
            WalkStepKind::Device(event) => device::device(self, netns, event),
            WalkStepKind::Bridge(event) => device::bridge(self, netns, event),
            WalkStepKind::Hook(event) => rule::hook(self, netns, event),
            WalkStepKind::Rule(event) => rule::rule(step, event),
            WalkStepKind::Conntrack(event) => conntrack::row(self, step, event),
            WalkStepKind::Nat(event) => nat::row(self, step, event),
            WalkStepKind::Ipvs(event) => ipvs::row(self, step, event),
            WalkStepKind::Route(event) => route::route(self, netns, event),
            WalkStepKind::Neigh(event) => route::neigh(self, netns, event),
            WalkStepKind::Socket(event) => socket::row(self, event),
        }
    }

    fn device(&self, netns: NetnsId, device: DeviceId) -> Cow<'a, str> {
        self.names.device(netns, device)
    }

    /// The end of a packet as text.
    pub fn ending(&self, ending: &Ending) -> Row {
        packet::ending(self, ending.terminal)
    }

    /// A frame in one line.
    pub fn frame(&self, frame: &[u8]) -> String {
        match self.detail {
            Detail::Exact => FrameLine::counted_from(frame, self.origins).to_string(),
            Detail::Alike => PacketKind(frame).to_string(),
        }
    }

    /// `10.96.0.10:80`.
    fn endpoint(&self, addr: impl Into<IpAddr>, port: u16) -> String {
        let addr: IpAddr = addr.into();
        match (self.detail, addr) {
            (Detail::Alike, _) => addr.to_string(),
            (Detail::Exact, IpAddr::V4(addr)) => format!("{addr}:{port}"),
            (Detail::Exact, IpAddr::V6(addr)) => format!("[{addr}]:{port}"),
        }
    }

    /// `192.168.0.100:40000 -> 10.96.0.10:80`.
    fn tuple(&self, tuple: &Tuple) -> String {
        match (self.detail, tuple.l4) {
            (Detail::Alike, _) => format!("{} -> {}", tuple.src, tuple.dst),
            (Detail::Exact, L4Key::Ports { src, dst }) => {
                format!("{} -> {}", self.endpoint(tuple.src, src), self.endpoint(tuple.dst, dst))
            }
            (Detail::Exact, L4Key::Icmp { .. } | L4Key::Generic) => tuple.to_string(),
        }
    }
}

/// How a row relates to the row before it.
enum Join {
    /// A separate row.
    Apart,
    /// The hook was entered and left without any event: both become one row.
    Accepted,
    /// The previous row already covers it.
    Said,
}

fn join(before: Option<&WalkStep<'_>>, step: &WalkStep<'_>) -> Join {
    match (before.map(|step| step.kind), step.kind) {
        (
            Some(WalkStepKind::Hook(HookEvent::Entered { .. })),
            WalkStepKind::Hook(HookEvent::Accepted { .. }),
        ) => Join::Accepted,
        // Conntrack creates an entry and then finds it.
        (
            Some(WalkStepKind::Conntrack(ConntrackEvent::New { entry: made, .. })),
            WalkStepKind::Conntrack(ConntrackEvent::Found { entry: found, .. }),
        ) if made == found => Join::Said,
        _ => Join::Apart,
    }
}

/// The text of a journey without the parts that differ between equivalent packets.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Outline {
    beginning: Option<(NetnsId, &'static str, String)>,
    hops: Vec<(NetnsId, Vec<Row>)>,
    ending: Option<(NetnsId, Row)>,
}

/// `PREROUTING nat`, or just `nat` outside a hook.
fn at_hook(hook: Option<Hook>, what: &str) -> String {
    hook.map_or_else(|| what.to_owned(), |hook| format!("{hook} {what}"))
}
