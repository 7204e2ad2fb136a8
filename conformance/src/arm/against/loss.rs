//! Comparison on links that lose a share of their frames. Both sides lose different frames, so the simulator's losses are
//! drawn until an exchange shows what it shows on the kernel.

use std::collections::{BTreeMap, BTreeSet};

use super::PairedArm;
use super::tables::{COUNT_MIN, SIGNIFICANCE};
use crate::arm::sim::{COURSES_MAX, CountersNeeded, Exchange, LossyEnds, Shown};
use crate::arm::{Arm as _, ArmError};
use crate::counters::{RuleCounter, counted_since};
use crate::disagreement::{DisagreementKind, OutcomeRow};
use crate::netns::NetnsName;
use crate::observation::{Answer, EndpointName, Outcome, RawFlow};
use crate::prepare::FlowPlan;
use crate::shares::Distribution;
use crate::statistics::GTest;

/// How many connections of the simulator are compared with each of the kernel: the fewer, the less a test can find.
const SAMPLE_FACTOR: u32 = 4;

/// The kernel's rule counters by node.
pub(super) type Counted = BTreeMap<String, Vec<RuleCounter>>;

/// The outcomes of a step on the simulator, and its distribution if no frame were lost.
pub(super) struct Sample {
    counts: BTreeMap<(Outcome, Option<EndpointName>), u32>,
    lossless: Distribution,
}

impl PairedArm {
    /// The ends of links that lose frames.
    pub(super) fn lossy_ends(&self) -> LossyEnds {
        let lossy = self.topology.veths.iter().filter(|veth| self.losses.contains_key(&veth.leaf.netns));
        let ends = lossy.flat_map(|veth| [&veth.port, &veth.leaf]);
        LossyEnds(ends.map(|end| (end.netns.to_string(), end.device.clone())).collect())
    }

    /// The kernel's counters before an exchange, if links lose a share of their frames.
    pub(super) fn counters_before_losses(&mut self) -> Result<Option<Counted>, ArmError> {
        if self.is_predictable() {
            return Ok(None);
        }
        let mut counted = Counted::new();
        for node in self.nodes() {
            let counters = self.kernel.counters(self.listing, &node)?;
            counted.insert(node, counters);
        }
        Ok(Some(counted))
    }

    /// Runs an exchange on the simulator, with losses that lead to what the kernel shows of it: the observations, the
    /// paths of the client's packets, the conntrack entries and what rules of the nat table counted on every node. If
    /// there are none, that is a difference. `number` is that of a connection.
    pub(super) fn follow_through_losses<E: Exchange>(
        &mut self,
        exchange: &E,
        shown: Shown<E::Seen>,
        before: &Counted,
        number: Option<u32>,
    ) -> Result<E::Rest, ArmError> {
        if self.sim.rules_see_every_packet()? {
            // What a peer repeats later would be counted with the next exchange.
            self.kernel.wait_for_silence()?;
            self.show_frames()?;
        }
        let read_at = self.kernel.elapsed();
        let mut tables = BTreeMap::new();
        for node in self.nodes() {
            let table = self.kernel.conntrack(&NetnsName::Node(node.clone()))?;
            tables.insert(node, table.unwrap_or_default());
        }
        let shown = shown.through_losses(self.lossy_ends(), read_at);
        let shown = shown.with_tables(exchange, tables, CountersNeeded::Always, |node| {
            let now = self.kernel.counters(self.listing, node)?;
            Ok(counted_since(before.get(node).map_or(&[], Vec::as_slice), now))
        })?;
        // After the first difference the two sides are in different states, and later ones say nothing.
        let is_first =
            !self.disagreements.iter().any(|one| matches!(one.kind, DisagreementKind::Unexplained { .. }));
        let courses_max = if is_first { COURSES_MAX } else { 1 };
        let followed = self.sim.follow_through_losses(exchange, &shown, courses_max)?;
        if let Some((sim, kernel)) = followed.apart.filter(|_| is_first) {
            self.note(DisagreementKind::Unexplained { number, sim, kernel });
        }
        Ok(followed.rest)
    }

    /// The simulator's outcomes of a step of many connections through losses, before it begins.
    pub(super) fn sample_losses(&mut self, plan: &FlowPlan) -> Result<Option<Sample>, ArmError> {
        if self.is_predictable() || plan.count < COUNT_MIN {
            return Ok(None);
        }
        let Some(lossless) = self.sim.distribution_without_losses(plan)? else { return Ok(None) };
        let counts = self.sim.sample(plan, plan.count.saturating_mul(SAMPLE_FACTOR))?;
        Ok(Some(Sample { counts, lossless }))
    }

    /// Tests whether connections ended as often in each way on both sides, if each was like the first.
    pub(super) fn check_outcomes(
        &mut self,
        sample: Sample,
        plan: &FlowPlan,
        flows: &[RawFlow],
    ) -> Result<(), ArmError> {
        if self.sim.distribution_without_losses(plan)?.as_ref() != Some(&sample.lossless) {
            return Ok(());
        }
        let mut kernel: BTreeMap<(Outcome, Option<EndpointName>), u32> = BTreeMap::new();
        for flow in flows {
            *kernel.entry((flow.outcome, flow.answer.as_ref().map(Answer::endpoint))).or_default() += 1;
        }
        let keys: BTreeSet<_> = sample.counts.keys().chain(kernel.keys()).collect();
        let of = |counts: &BTreeMap<_, u32>, key| counts.get(key).copied().unwrap_or_default();
        let rows: Vec<OutcomeRow> =
            keys.into_iter().map(|key| (key.clone(), of(&sample.counts, key), of(&kernel, key))).collect();
        let (sim, kernel): (Vec<u32>, Vec<u32>) = rows.iter().map(|(_, sim, kernel)| (*sim, *kernel)).unzip();
        if let Some(test) = GTest::of_two(&sim, &kernel).filter(|test| test.p_value < SIGNIFICANCE) {
            self.note(DisagreementKind::Outcomes { rows, p_value: test.p_value });
        }
        Ok(())
    }
}
