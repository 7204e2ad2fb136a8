//! Follows another arm on links that lose a share of their frames: the losses are drawn again and again, until the
//! exchange ends as on the other arm.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use sim::draws::Enumerate;
use sim::link::Probability;
use sim::time::Instant;
use sim::trace::Level;

use super::{Alternative, Exchange, Shown, Traces, instant, is_later, parted, run_flow, without_progress};
use crate::arm::ArmError;
use crate::arm::sim::SimArm;
use crate::counters::RuleCounter;
use crate::frame::{Attempt, Frame, FrameDirection, Parting, Sighting};
use crate::netns::NetnsName;
use crate::observation::{Answer, ConntrackObservation, EndpointName, Outcome, TcpState};
use crate::prepare::FlowPlan;
use crate::shares::Distribution;

/// How many courses of an exchange are tried. What a kernel shows with probability p is not found among n independent
/// courses with probability p(1 - p)^n, at most 1/(e n).
pub(crate) const COURSES_MAX: usize = 2_000;

/// How many decisions of rules are tried with the same losses.
const PATHS_MAX: usize = 24;

/// The devices at the ends of links that lose frames, by netns.
///
/// A kernel loses frames on ingress, after its captures have seen them, so that frames received there say nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct LossyEnds(pub(crate) BTreeSet<(String, String)>);

impl LossyEnds {
    /// True for a frame received at one of these devices.
    pub(crate) fn hide(&self, frame: &Frame) -> bool {
        frame.direction == FrameDirection::Received
            && self.0.iter().any(|(netns, device)| *device == frame.device && *netns == frame.netns)
    }
}

/// What a course through losses differs by from one without.
pub(super) struct Losses {
    /// The series of numbers that decide what is lost.
    pub(super) series: u32,
    /// The rule counters before the exchange, by node.
    pub(super) before: BTreeMap<String, Vec<RuleCounter>>,
}

/// How an exchange went on the simulator.
pub(crate) struct Followed<E: Exchange> {
    /// What it leaves for a later step.
    pub(crate) rest: E::Rest,
    /// What only one side shows, if no losses lead to what the other arm shows: those of the course that parts last.
    pub(crate) apart: Option<(Vec<String>, Vec<String>)>,
}

/// An entry with what losses determine of it: how far a TCP connection came. What follows its handshake also depends on
/// when the table is read.
pub(super) fn with_phase(entry: ConntrackObservation) -> ConntrackObservation {
    let tcp_state = entry.tcp_state.map(|state| match state {
        TcpState::None | TcpState::SynSent | TcpState::SynSent2 | TcpState::SynRecv => state,
        TcpState::Established
        | TcpState::FinWait
        | TcpState::CloseWait
        | TcpState::LastAck
        | TcpState::TimeWait
        | TcpState::Close => TcpState::Established,
    });
    ConntrackObservation { tcp_state, ..without_progress(entry) }
}

impl<S> Shown<S> {
    /// On links that lose frames at these ends. The frames passed to [`Shown::new`] must not contain hidden ones, and
    /// counters are those of this exchange alone. Tables and counters are read at that time since the start.
    pub(crate) fn through_losses(self, ends: LossyEnds, read_at: Duration) -> Self {
        Self { losses: Some((ends, Instant::START + read_at)), ..self }
    }
}

impl SimArm {
    /// Like [`SimArm::follow`], on links that lose a share of their frames. Tries at most `courses_max` courses.
    pub(crate) fn follow_through_losses<E: Exchange>(
        &mut self,
        exchange: &E,
        shown: &Shown<E::Seen>,
        courses_max: usize,
    ) -> Result<Followed<E>, ArmError> {
        let counted = |node: &String| Ok((node.clone(), self.counters(shown.listing, node)?));
        let before = shown.left.keys().map(counted).collect::<Result<_, ArmError>>()?;
        let mut losses = Losses { series: self.loss_series, before };
        let mut nearest: Option<(Option<Instant>, u32, Alternative<E::Seen>)> = None;
        let mut tried = 0;
        let mut is_same = false;
        while !is_same && tried < courses_max {
            losses.series = losses.series % SERIES_MAX + 1;
            let mut next = Some(Enumerate::first());
            for _ in 0..PATHS_MAX {
                let Some(path) = next.take() else { break };
                tried += 1;
                let course = self.try_path(exchange, shown, path, Some(&losses))?;
                let parting = parting(&course.attempts, &shown.attempts);
                // If it ended on a machine that its frames do not show, the choice is later than its last hop.
                next = match parting {
                    Some(Parting::Elsewhere(at)) => course.path.next_path_that_differs_by(instant(at)),
                    Some(Parting::Ended(_)) | None => course.path.next_path(),
                };
                let parted = parting.map(|parting| instant(parting.at()));
                is_same = parted.is_none() && course.seen == shown.seen && course.left == shown.left;
                let is_nearer = nearest.as_ref().is_none_or(|(known, ..)| is_later(*known, parted));
                if is_same || is_nearer {
                    nearest = Some((parted, losses.series, course));
                }
                if is_same {
                    break;
                }
            }
        }
        self.loss_series = losses.series;
        let Some((_, series, course)) = nearest else {
            return Err(ArmError::Internal("an exchange has no possible course".to_owned()));
        };
        self.world.draws_mut().redraw_deliveries(series);
        let (_, rest) = self.take_path(exchange, shown, course.path.again())?;
        let apart = (!is_same).then(|| apart::<E>(&course, shown));
        Ok(Followed { rest, apart })
    }

    /// True if rules of the nat table see every packet of some connections, not only the first: of those that IPVS handles
    /// while `vs.conntrack` is 0.
    pub(crate) fn rules_see_every_packet(&self) -> Result<bool, ArmError> {
        let is_exempt = |netns: &NetnsName| -> Result<bool, ArmError> {
            let ipvs = &self.world.netns(self.id(netns)?).ipvs;
            Ok(!ipvs.services().is_empty() && !ipvs.settings.conntrack)
        };
        self.ids.keys().map(is_exempt).try_fold(false, |any, is_exempt| Ok(any | is_exempt?))
    }

    /// The distribution of a connection if no link lost frames.
    pub(crate) fn distribution_without_losses(
        &self,
        plan: &FlowPlan,
    ) -> Result<Option<Distribution>, ArmError> {
        let mut world = self.world.fork();
        let ids = &self.ids;
        for end in self.topology.veths.iter().flat_map(|veth| [&veth.port, &veth.leaf]) {
            if let Some(id) = ids.get(&end.netns) {
                let device = world.device(*id, &end.device)?;
                world.link_mut(*id, device).loss = Probability::NEVER;
            }
        }
        self.distribution_in(&world, plan)
    }

    /// How often `count` connections ended in each way, one after the other in a fork of the world. Does not change the
    /// state.
    pub(crate) fn sample(
        &mut self,
        plan: &FlowPlan,
        count: u32,
    ) -> Result<BTreeMap<(Outcome, Option<EndpointName>), u32>, ArmError> {
        let netns = self.id(&plan.from)?;
        self.loss_series = self.loss_series % SERIES_MAX + 1;
        let mut world = self.world.fork();
        world.set_level(Level::Nothing);
        world.draws_mut().redraw_deliveries(self.loss_series);
        let mut counts = BTreeMap::new();
        for _ in 0..count {
            let flow = run_flow(&mut world, netns, plan)?.flow;
            *counts.entry((flow.outcome, flow.answer.as_ref().map(Answer::endpoint))).or_default() += 1;
        }
        Ok(counts)
    }
}

/// The largest number of a series of losses; [`sim::draws::Draws::redraw_deliveries`].
const SERIES_MAX: u32 = (1 << 24) - 1;

/// Like [`parted`], but the number of attempts must be equal too: it says how often the client sent its packet again.
fn parting(sim: &[Attempt], other: &[Attempt]) -> Option<Parting> {
    let surplus =
        |attempts: &[Attempt], from: usize| Some(Parting::Elsewhere(attempts.get(from)?.hops.first()?.at));
    let common = sim.len().min(other.len());
    parted(sim, other).or_else(|| surplus(sim, common)).or_else(|| surplus(other, common))
}

/// What only one side shows.
fn apart<E: Exchange>(course: &Alternative<E::Seen>, shown: &Shown<E::Seen>) -> (Vec<String>, Vec<String>) {
    let sim = lines::<E>(&course.seen, &course.attempts, &course.left);
    let other = lines::<E>(&shown.seen, &shown.attempts, &shown.left);
    let only = |one: &[String], other: &[String]| -> Vec<String> {
        one.iter().filter(|line| !other.contains(line)).cloned().collect()
    };
    (only(&sim, &other), only(&other, &sim))
}

/// What an exchange shows, as lines of text.
fn lines<E: Exchange>(seen: &E::Seen, attempts: &[Attempt], left: &BTreeMap<String, Traces>) -> Vec<String> {
    let mut lines = vec![E::describe(seen)];
    for (attempt, number) in attempts.iter().zip(1..) {
        lines.extend(attempt.hops.iter().map(|Sighting { place, .. }| format!("packet {number}: {place}")));
    }
    for (node, Traces { entries, first_packets }) in left {
        lines.extend(entries.iter().map(|entry| format!("{node}: {entry}")));
        for (chain, counts) in first_packets.iter().flatten() {
            if counts.iter().any(|count| *count > 0) {
                lines.push(format!("{node}: rules of {chain} counted {counts:?}"));
            }
        }
    }
    lines
}
