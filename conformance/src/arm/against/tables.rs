//! Comparison of conntrack tables, IPVS, rule counters, and the kernel's choices of endpoints.

use std::collections::{BTreeMap, BTreeSet};

use proxy_core::generator::Generator;

use super::PairedArm;
use crate::arm::{Arm, ArmError};
use crate::counters::RuleCounter;
use crate::disagreement::DisagreementKind;
use crate::netns::NetnsName;
use crate::observation::{Answer, ConntrackObservation, EndpointName, IpvsObservation, RawFlow};
use crate::prepare::FlowPlan;
use crate::shares::{Distribution, approximation};
use crate::statistics::GTest;

/// Choices with a smaller probability count as biased. A run has fewer than a hundred steps with many connections, and
/// the chi-squared approximation is off by less than a factor of 30 for counts from [`COUNT_MIN`] on, so false alarms
/// are rarer than one in a million runs.
pub(super) const SIGNIFICANCE: f64 = 1e-10;

/// With fewer connections there is no meaningful test.
pub(super) const COUNT_MIN: u32 = 30;

impl PairedArm {
    pub(super) fn compare_tables(&mut self) -> Result<(), ArmError> {
        self.is_stale = false;
        if self.have_tables_parted {
            return Ok(());
        }
        self.compare_conntrack()?;
        match self.generator {
            Generator::Iptables => {}
            Generator::Ipvs => self.compare_ipvs()?,
        }
        self.compare_counters()
    }

    /// Compares the conntrack tables of all nodes. On one side the last segments of a connection may still be in
    /// flight, if a server has not closed it yet. A difference is therefore checked again when undecided frames have
    /// been decided, and reported only if it persists.
    fn compare_conntrack(&mut self) -> Result<(), ArmError> {
        for node in self.nodes() {
            let node = NetnsName::Node(node);
            let look = |arms: &mut Self| -> Result<_, ArmError> {
                let (sim, kernel) = (arms.sim.conntrack(&node)?, arms.kernel.conntrack(&node)?);
                Ok(ConntrackObservation::apart(sim.unwrap_or_default(), kernel.unwrap_or_default()))
            };
            let mut found = look(self)?;
            if found != (Vec::new(), Vec::new()) {
                self.compare_all_frames()?;
                self.settle()?;
                found = look(self)?;
            }
            let (only_sim, only_kernel) = found;
            if !only_sim.is_empty() || !only_kernel.is_empty() {
                self.note(DisagreementKind::Conntrack { node: node.to_string(), only_sim, only_kernel });
            }
        }
        Ok(())
    }

    /// Compares virtual services, IPVS connections and sets of all nodes. As for conntrack tables, a difference is reported
    /// if it persists.
    fn compare_ipvs(&mut self) -> Result<(), ArmError> {
        for node in self.nodes() {
            let look = |arms: &mut Self| -> Result<_, ArmError> {
                Ok(IpvsObservation::apart(&arms.sim.ipvs(&node)?, &arms.kernel.ipvs(&node)?))
            };
            let mut found = look(self)?;
            if found != (Vec::new(), Vec::new()) {
                self.compare_all_frames()?;
                self.settle()?;
                found = look(self)?;
            }
            let (only_sim, only_kernel) = found;
            if !only_sim.is_empty() || !only_kernel.is_empty() {
                self.note(DisagreementKind::Ipvs { node, only_sim, only_kernel });
            }
        }
        Ok(())
    }

    /// Compares the counters of all rules of all nodes; see [`CounterListing::agree`](crate::counters::CounterListing::agree).
    fn compare_counters(&mut self) -> Result<(), ArmError> {
        let listing = self.listing;
        for node in self.nodes() {
            let sim = by_chain(self.sim.counters(listing, &node)?);
            let kernel = by_chain(self.kernel.counters(listing, &node)?);
            let chains: BTreeSet<_> = sim.keys().chain(kernel.keys()).collect();
            let of =
                |side: &Chains, chain, index| side.get(chain).and_then(|rules| rules.get(index)).cloned();
            let len = |side: &Chains, chain| side.get(chain).map_or(0, Vec::len);
            let mut rules = Vec::new();
            for chain in chains {
                let count = len(&sim, chain).max(len(&kernel, chain));
                let pairs = (0..count).map(|index| (of(&sim, chain, index), of(&kernel, chain, index)));
                let differs = |pair: &(Option<RuleCounter>, Option<RuleCounter>)| match pair {
                    (Some(sim), Some(kernel)) => !listing.agree(sim, kernel),
                    (Some(_) | None, Some(_) | None) => true,
                };
                rules.extend(pairs.filter(differs));
            }
            if !rules.is_empty() {
                self.note(DisagreementKind::Counters { node, rules });
            }
        }
        Ok(())
    }

    /// Tests whether the kernel chose endpoints with the exact probabilities, for identical connections.
    pub(super) fn check_choices(
        &mut self,
        before: &Distribution,
        plan: &FlowPlan,
        flows: &[RawFlow],
    ) -> Result<(), ArmError> {
        if plan.count < COUNT_MIN || self.sim.distribution(plan)?.as_ref() != Some(before) {
            return Ok(());
        }
        let mut shares: BTreeMap<Option<EndpointName>, (f64, u32)> = BTreeMap::new();
        for ((_, endpoint), weight) in &before.weights {
            shares.entry(endpoint.clone()).or_default().0 += approximation(weight);
        }
        for flow in flows {
            shares.entry(flow.answer.as_ref().map(Answer::endpoint)).or_default().1 += 1;
        }
        let counts: Vec<u32> = shares.values().map(|(_, count)| *count).collect();
        let expected: Vec<f64> = shares.values().map(|(share, _)| *share).collect();
        if let Some(test) = GTest::new(&counts, &expected).filter(|test| test.p_value < SIGNIFICANCE) {
            let rows =
                shares.into_iter().map(|(endpoint, (share, count))| (endpoint, share, count)).collect();
            self.note(DisagreementKind::Choices { rows, p_value: test.p_value });
        }
        Ok(())
    }
}

/// Counters by table and chain. Back ends list tables and chains in different orders.
type Chains = BTreeMap<(String, String), Vec<RuleCounter>>;

fn by_chain(counters: Vec<RuleCounter>) -> Chains {
    let mut chains = Chains::new();
    for counter in counters {
        let chain = counter.chain().to_owned();
        chains.entry((counter.table.clone(), chain)).or_default().push(counter);
    }
    chains
}
