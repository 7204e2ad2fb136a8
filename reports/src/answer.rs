//! The answer to one question: what may happen to a connection, how probable it is, and which rule decides.

mod decision;
mod document;
mod text;

pub use decision::Decision;
pub use text::AnswerText;

use crate::frame::Origins;
use crate::names::Names;
use crate::walk::row::{Detail, RowContext};
use crate::walk::{Hop, Journey, Walk, WalkStep, WalkStepKind};
use conformance::observation::FlowObservation;
use conformance::result::{Course, Recording};
use serde::Serialize;
use sim::draws::Weight;
use sim::ids::DeviceId;
use sim::trace::{IpvsEvent, NatEvent};
use sim::wire::rewrite::Side;
use std::net::SocketAddr;

/// All that may happen.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// Courses that differ by what is shown, in order of their first appearance.
    pub courses: Vec<AnswerCourse>,
}

/// A course that a connection may take, or several that nothing shown tells apart.
#[derive(Clone, Debug)]
pub struct AnswerCourse {
    /// The probability; `None` where a scheduler of IPVS chooses by what was before.
    pub weight: Option<Weight>,
    /// What client and endpoint see.
    pub flow: FlowObservation,
    /// Where packets ended that the client sent before the one shown.
    pub lost: Option<AnswerHop>,
    /// Where the packet goes that opens the connection, one line a network namespace.
    pub hops: Vec<AnswerHop>,
    /// If an answer to the client is lost: where it goes.
    pub reply_hops: Vec<AnswerHop>,
    /// What decided it, in order.
    pub decisions: Vec<Decision>,
    /// What happened, for the whole trace.
    pub recording: Recording,
}

/// What happens to a packet in one network namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AnswerHop {
    /// The name of the netns.
    pub netns: String,
    /// The device through which it enters; `None` if it is sent here.
    pub in_dev: Option<String>,
    /// The device through which it leaves; `None` if it ends here.
    pub out_dev: Option<String>,
    /// Translations, such as `dst 10.96.0.10:80 -> 10.244.1.2:8080`.
    pub changes: Vec<String>,
    /// How it ends here.
    pub end: Option<String>,
}

impl Answer {
    /// Adds a course. Courses that nothing shown tells apart are one.
    pub fn add(&mut self, course: Course) {
        let Course { weight, flow, recording } = course;
        let (hops, reply_hops, decisions, lost) = {
            let walk = Walk::fold(&recording.events);
            let names = Names(&recording.netns);
            let journeys: Vec<&Journey<'_>> = walk
                .flows
                .iter()
                .flat_map(|flow| &flow.journeys)
                .filter(|one| decision::is_of_flow(one))
                .collect();
            let decisive = decision::decisive(&journeys, flow.outcome);
            let shown = decision::shown(&journeys, flow.outcome);
            let hops = shown.map_or_else(Vec::new, |shown| hops_of(names, shown));
            let is_other = |one: &&Journey<'_>| shown.is_none_or(|shown| shown.packet != one.packet);
            let reply_hops = decisive.filter(is_other).map_or_else(Vec::new, |reply| hops_of(names, reply));
            let decisions = decision::decisions(names, shown, decisive);
            let first = journeys.first().copied().filter(is_other);
            let lost = first.and_then(|first| hops_of(names, first).pop());
            (hops, reply_hops, decisions, lost)
        };
        let same = self.courses.iter_mut().find(|known| {
            known.flow == flow
                && known.lost == lost
                && known.hops == hops
                && known.reply_hops == reply_hops
                && known.decisions == decisions
        });
        match same {
            Some(known) => {
                known.weight = known.weight.take().zip(weight).map(|(mut sum, more)| {
                    sum += &more;
                    sum
                });
            }
            None => {
                self.courses.push(AnswerCourse { weight, flow, lost, hops, reply_hops, decisions, recording })
            }
        }
    }
}

/// The hops of a packet. Where it only crosses a switch, nothing is decided.
fn hops_of(names: Names<'_>, journey: &Journey<'_>) -> Vec<AnswerHop> {
    let last = journey.hops.len().saturating_sub(1);
    let hops = journey.hops.iter().enumerate();
    let lines = hops.map(|(index, hop)| line(names, journey, hop, index == last));
    lines.filter(|hop| hop.end.is_some() || hop.netns != conformance::netns::SWITCH).collect()
}

fn line(names: Names<'_>, journey: &Journey<'_>, hop: &Hop<'_>, is_last: bool) -> AnswerHop {
    let device = |id: DeviceId| names.device(hop.netns, id).into_owned();
    let words = RowContext { names, detail: Detail::Exact, origins: Origins::default() };
    let end = is_last.then(|| match &journey.ending {
        Some(ending) => decision::end_text(&words, ending),
        None => hop.steps.last().map_or_else(String::new, |step| {
            let row = words.row(hop.netns, step);
            format!("waits: {} {}", row.place, row.text)
        }),
    });
    AnswerHop {
        netns: names.netns(hop.netns).into_owned(),
        in_dev: hop.entered_by().map(device),
        out_dev: hop.left_by().filter(|_| !is_last).map(device),
        changes: hop.steps.iter().filter_map(change).collect(),
        end,
    }
}

/// A translation. Ports of sources are drawn at random and tell nothing.
fn change(step: &WalkStep<'_>) -> Option<String> {
    match step.kind {
        WalkStepKind::Nat(NatEvent::Translated { manip, from, to, .. }) => {
            Some(changed(*manip, SocketAddr::from(*from), SocketAddr::from(*to)))
        }
        WalkStepKind::Ipvs(IpvsEvent::Translated { side, from, to }) => Some(changed(*side, *from, *to)),
        WalkStepKind::Nat(NatEvent::Bound { .. } | NatEvent::QuoteTranslated { .. })
        | WalkStepKind::Ipvs(
            IpvsEvent::Scheduled { .. }
            | IpvsEvent::Found { .. }
            | IpvsEvent::Replied { .. }
            | IpvsEvent::Refused(_)
            | IpvsEvent::ErrorTranslated { .. }
            | IpvsEvent::Encapsulated { .. }
            | IpvsEvent::Untracked
            | IpvsEvent::ConntrackAltered { .. },
        )
        | WalkStepKind::Device(_)
        | WalkStepKind::Bridge(_)
        | WalkStepKind::Hook(_)
        | WalkStepKind::Rule(_)
        | WalkStepKind::Conntrack(_)
        | WalkStepKind::Route(_)
        | WalkStepKind::Neigh(_)
        | WalkStepKind::Socket(_) => None,
    }
}

fn changed(side: Side, from: SocketAddr, to: SocketAddr) -> String {
    match side {
        Side::Dst => format!("dst {from} -> {to}"),
        Side::Src => format!("src {} -> {}", from.ip(), to.ip()),
    }
}
