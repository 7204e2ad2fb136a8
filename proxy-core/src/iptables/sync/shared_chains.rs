//! Edits of the shared chains.

use std::fmt::Write as _;
use std::ops::Bound;

use crate::iptables::dispatch::{Dispatch, SharedChain, count_dispatch};
use crate::names::ServicePortName;
use crate::plan::Plan;

/// Tracks where the rules of a service port begin in each shared chain.
pub(super) struct SharedChains<'a> {
    plan: &'a Plan,
    /// Rules of the service ports before `counted_to`, per chain, after the sync.
    counts: [usize; SharedChain::ALL.len()],
    counted_to: Option<&'a ServicePortName>,
}

impl<'a> SharedChains<'a> {
    /// For the plan after the sync.
    pub(super) fn new(plan: &'a Plan) -> Self {
        Self { plan, counts: [0; SharedChain::ALL.len()], counted_to: None }
    }

    /// Writes the edits that change the rules of one service port in one shared chain.
    ///
    /// Service ports must be visited in name order: edits take effect one after the other, so all ports before this one
    /// are in their new state and all after it in their old.
    pub(super) fn write_edits(
        &mut self,
        text: &mut String,
        chain: SharedChain,
        name: &'a ServicePortName,
        before: &Dispatch,
        after: &Dispatch,
    ) {
        let old: Vec<&str> = before.rules(chain).collect();
        let new: Vec<&str> = after.rules(chain).collect();
        if old == new {
            return;
        }
        let (kept_before, kept_after) = kept(&old, &new);
        for rule in &old[kept_before..old.len() - kept_after] {
            writeln!(text, "-D {} {rule}", chain.name()).expect("writing to a String does not fail");
        }
        let inserted = &new[kept_before..new.len() - kept_after];
        if inserted.is_empty() {
            return;
        }
        let first = self.rules_before(name, chain) + kept_before + 1;
        for (position, rule) in (first..).zip(inserted) {
            writeln!(text, "-I {} {position} {rule}", chain.name())
                .expect("writing to a String does not fail");
        }
    }

    /// The number of rules in a chain of the service ports before this one, after the sync.
    fn rules_before(&mut self, name: &'a ServicePortName, chain: SharedChain) -> usize {
        if self.counted_to != Some(name) {
            let from = self.counted_to.map_or(Bound::Unbounded, Bound::Included);
            let between = self.plan.services.range::<ServicePortName, _>((from, Bound::Excluded(name)));
            for (_, service) in between {
                let counts = count_dispatch(service, &self.plan.node, self.plan.family);
                for (total, count) in self.counts.iter_mut().zip(counts) {
                    *total += count;
                }
            }
            self.counted_to = Some(name);
        }
        self.counts[chain as usize]
    }
}

/// The number of unchanged rules at both ends. Zero if a rule occurs twice, because `-D` deletes the first of equal
/// rules.
fn kept(old: &[&str], new: &[&str]) -> (usize, usize) {
    let occurs_twice = (1..old.len()).any(|index| old[..index].contains(&old[index]));
    if occurs_twice {
        return (0, 0);
    }
    let same = |(left, right): &(&&str, &&str)| left == right;
    let before = old.iter().zip(new).take_while(same).count();
    let after = old[before..].iter().rev().zip(new[before..].iter().rev()).take_while(same).count();
    (before, after)
}
