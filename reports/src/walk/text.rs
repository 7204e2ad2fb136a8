//! The walk as text: fixed columns, netns indented under their packet, packets under their flow.
//!
//! ```text
//! flow 0  tcp 192.168.0.100:40000 -> 192.168.0.11:30080  connected
//!         web-0 10.244.1.2:8080 saw 192.168.0.100:40000
//!
//! packet 0  192.168.0.100.40000 > 192.168.0.11.30080: S 0:0(0) win 64240
//!   node-1
//!     0.000050  eth0 in               192.168.0.100.40000 > 192.168.0.11.30080: S 0:0(0) win 64240
//!               PREROUTING            in eth0
//!               PREROUTING nat               jumps:11  -A PREROUTING -j KUBE-SERVICES
//! ```

pub mod steps;

use super::row::{Row, RowContext, origin};
use super::{Alike, Ending, FlowWalk, Hop, Journey, Walk};
use crate::frame::protocol_name;
use crate::names::Names;
use crate::outcome::{outcome_text, outcome_tone};
use crate::palette::{Palette, Tone};
use sim::drop_reason::DropReason;
use sim::ids::{FlowId, PacketId};
use sim::packet::Origin;
use sim::time::Instant;
use sim::trace::Terminal;
use std::fmt::{self, Display, Formatter};
use std::net::{IpAddr, SocketAddr};

/// How packets that repeat an earlier one are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Repeats {
    /// As one line that names the earlier packet. Flows that consist of repeats are only counted, and a copy that a
    /// bridge flooded to a host that ignores it is one line as well.
    #[default]
    Folded,
    /// In full.
    Full,
}

/// A walk, ready to print.
#[derive(Clone, Debug)]
pub struct WalkText<'a> {
    walk: &'a Walk<'a>,
    repeats: Repeats,
    alike: Alike,
    names: Names<'a>,
    palette: Palette,
}

impl<'a> WalkText<'a> {
    /// Prepares a walk for printing.
    pub fn new(walk: &'a Walk<'a>, names: Names<'a>, repeats: Repeats, palette: Palette) -> Self {
        let alike = match repeats {
            Repeats::Folded => Alike::of(walk, names),
            Repeats::Full => Alike::default(),
        };
        Self { walk, repeats, alike, names, palette }
    }
}

/// Width of the time column, which is blank while the time does not change.
const TIME_WIDTH: usize = 8;
/// Width of the column for the place in the stack.
const PLACE_WIDTH: usize = 22;
/// Width of the column that says where a rule was loaded from: `iptables.rules:31`.
const SOURCE_WIDTH: usize = 17;

impl Display for WalkText<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for flow in self.walk.flows.iter().filter(|flow| self.alike.flow(flow.flow).is_none()) {
            self.flow(f, flow)?;
        }
        if !self.walk.strays.is_empty() {
            writeln!(f, "{}", self.paint(Tone::Heading, "packets without a flow"))?;
            self.walk.strays.iter().try_for_each(|journey| self.journey(f, journey))?;
        }
        self.background(f)
    }
}

impl WalkText<'_> {
    fn paint<T: Display>(&self, tone: Tone, text: T) -> String {
        let style = self.palette.style(tone);
        format!("{style}{text}{style:#}")
    }

    fn flow(&self, f: &mut Formatter<'_>, flow: &FlowWalk<'_>) -> fmt::Result {
        write!(f, "{}", self.paint(Tone::Heading, format_args!("flow {}", flow.flow.0)))?;
        if let Some(it) = flow.opening {
            let (local, remote) = (socket_addr(it.local), socket_addr(it.remote));
            write!(f, "  {} {local} -> {remote}", protocol_name(it.protocol))?;
        }
        match (flow.outcome, flow.opening) {
            (Some(outcome), _) => {
                writeln!(f, "  {}", self.paint(outcome_tone(outcome), outcome_text(outcome)))?;
            }
            (None, Some(_)) => writeln!(f, "  in flight when the run ended")?,
            (None, None) if is_injected(flow) => writeln!(f, "  raw packets")?,
            (None, None) => writeln!(f, "  of an earlier step")?,
        }
        for it in &flow.acceptances {
            let (name, local) = (self.names.netns(it.netns), socket_addr(it.local));
            writeln!(f, "    {name} at {local} saw {}", socket_addr(it.remote))?;
        }
        let repeats = self.alike.repeats(flow.flow, &self.walk.flows);
        if !repeats.is_empty() {
            let list = flow_list(&repeats.iter().map(|flow| flow.flow).collect::<Vec<_>>());
            let text = format!("    {} more with the same path: flow {list}", repeats.len());
            writeln!(f, "{}", self.paint(Tone::Dim, text))?;
        }
        writeln!(f)?;
        flow.journeys.iter().try_for_each(|journey| self.journey(f, journey))
    }

    fn journey(&self, f: &mut Formatter<'_>, journey: &Journey<'_>) -> fmt::Result {
        let words = RowContext::exact(self.names, journey);
        let id = self.paint(Tone::Heading, format_args!("packet {}", journey.packet.0));
        write!(f, "{id}")?;
        if let Some(it) = &journey.beginning {
            write!(f, "  {}", words.frame(it.frame))?;
            write!(f, "  {}", self.paint(Tone::Dim, relation(it.origin, it.cause)))?;
        }
        if let Some(first) = self.alike.packet(journey.packet) {
            return writeln!(f, "\n  same path as packet {}\n", first.0);
        }
        if let (Repeats::Folded, Some(ending)) = (self.repeats, unwanted_copy(journey)) {
            let Row { place, text, .. } = words.ending(ending);
            return writeln!(f, "\n  {place} in {}: {text}\n", self.names.netns(ending.netns));
        }
        writeln!(f)?;
        for hop in &journey.hops {
            self.hop(f, words, hop)?;
        }
        self.ending(f, words, journey)?;
        writeln!(f)
    }

    fn hop(&self, f: &mut Formatter<'_>, words: RowContext<'_>, hop: &Hop<'_>) -> fmt::Result {
        writeln!(f, "  {}", self.paint(Tone::Netns, self.names.netns(hop.netns)))?;
        let mut clock = None;
        for (at, row) in words.rows(hop) {
            self.row(f, &mut clock, at, &row)?;
        }
        Ok(())
    }

    fn ending(&self, f: &mut Formatter<'_>, words: RowContext<'_>, journey: &Journey<'_>) -> fmt::Result {
        let Some(ending) = &journey.ending else {
            return writeln!(f, "    {:TIME_WIDTH$}  in flight when the run ended", "");
        };
        let last = journey.hops.last();
        if last.is_none_or(|hop| hop.netns != ending.netns) {
            writeln!(f, "  {}", self.paint(Tone::Netns, self.names.netns(ending.netns)))?;
        }
        let mut clock = last.and_then(|hop| hop.steps.last()).map(|step| step.at);
        self.row(f, &mut clock, ending.at, &words.ending(ending))
    }

    /// One row in its columns. `clock` is the time of the row before.
    fn row(&self, f: &mut Formatter<'_>, clock: &mut Option<Instant>, at: Instant, row: &Row) -> fmt::Result {
        let time = if *clock == Some(at) { String::new() } else { at.to_string() };
        *clock = Some(at);
        let place = self.paint(Tone::Dim, format_args!("{:PLACE_WIDTH$}", row.place));
        write!(f, "    {time:TIME_WIDTH$}  {place}")?;
        if let Some(source) = &row.source {
            write!(f, "{source:>SOURCE_WIDTH$}  ")?;
        }
        writeln!(f, "{}", self.paint(row.tone, &row.text))?;
        if let Some(effect) = &row.effect {
            let indent = row.text.len() - row.text.trim_start().len() + SOURCE_WIDTH + 2;
            let change = self.paint(Tone::Change, effect);
            writeln!(f, "    {:TIME_WIDTH$}  {:PLACE_WIDTH$}{:indent$}=> {change}", "", "", "")?;
        }
        Ok(())
    }

    fn background(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.walk.background.is_empty() {
            return Ok(());
        }
        writeln!(f, "{}", self.paint(Tone::Heading, "outside of packet processing"))?;
        let (mut clock, mut netns) = (None, None);
        for (at_netns, step) in &self.walk.background {
            if netns != Some(*at_netns) {
                writeln!(f, "  {}", self.paint(Tone::Netns, self.names.netns(*at_netns)))?;
                (clock, netns) = (None, Some(*at_netns));
            }
            self.row(f, &mut clock, step.at, &RowContext::background(self.names).row(*at_netns, step))?;
        }
        Ok(())
    }
}

/// The end of a copy that a bridge flooded to a host that ignores it.
fn unwanted_copy<'a>(journey: &'a Journey<'_>) -> Option<&'a Ending> {
    let is_copy = journey.beginning.is_some_and(|beginning| beginning.origin == Origin::Clone);
    let ending = journey.ending.as_ref()?;
    let is_unwanted = matches!(
        ending.terminal,
        Terminal::Dropped(DropReason::ArpNotForUs | DropReason::OtherHost | DropReason::NotForUs)
    );
    (is_copy && is_unwanted).then_some(ending)
}

/// True for the flow of a script in this part of the run.
fn is_injected(flow: &FlowWalk<'_>) -> bool {
    let mut beginnings = flow.journeys.iter().filter_map(|journey| journey.beginning);
    beginnings.any(|beginning| beginning.origin == Origin::Injected)
}

/// `(answers packet 3)`: how a packet relates to others, unless it simply comes from a socket.
fn relation(by: Origin, cause: Option<PacketId>) -> String {
    match (by, cause) {
        (Origin::Clone, Some(cause)) => format!("(a copy of packet {})", cause.0),
        (Origin::Fragment, Some(cause)) => format!("(a fragment of packet {})", cause.0),
        (Origin::Socket, Some(cause)) => format!("(answers packet {})", cause.0),
        (Origin::Kernel, Some(cause)) => format!("(made by the kernel because of packet {})", cause.0),
        (Origin::Injected, Some(cause)) => format!("(injected after packet {})", cause.0),
        (by, None) => format!("({})", origin(by)),
    }
}

/// `1, 3-5, 9`.
fn flow_list(flows: &[FlowId]) -> String {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for FlowId(id) in flows {
        match ranges.last_mut() {
            Some((_, end)) if *end + 1 == *id => *end = *id,
            Some(_) | None => ranges.push((*id, *id)),
        }
    }
    let text = ranges
        .iter()
        .map(|(a, b)| if a == b { a.to_string() } else { format!("{a}-{b}") })
        .collect::<Vec<_>>();
    text.join(", ")
}

fn socket_addr((addr, port): (IpAddr, u16)) -> String {
    SocketAddr::new(addr, port).to_string()
}
