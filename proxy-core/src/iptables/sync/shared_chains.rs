//! Edits of the chains that all Services share.

use std::fmt::Write as _;
use std::ops::Bound;

use crate::iptables::dispatch::{Dispatch, SharedChain, count_dispatch};
use crate::names::ServicePortName;
use crate::plan::Plan;

/// Knows where the rules of a service port begin in each shared chain.
pub(super) struct SharedChains<'a> {
    plan: &'a Plan,
    /// Rules of the service ports before `counted_to`, per chain, as they are after the sync.
    counts: [usize; SharedChain::ALL.len()],
    counted_to: Option<&'a ServicePortName>,
}

impl<'a> SharedChains<'a> {
    /// Of the plan after the sync.
    pub(super) fn new(plan: &'a Plan) -> Self {
        Self { plan, counts: [0; SharedChain::ALL.len()], counted_to: None }
    }

    /// Writes the edits that turn the rules of one service port in one shared chain from one state into
    /// another.
    ///
    /// Service ports must come in the order of names: edits take effect one after the other, so all before
    /// this one are in their new state and all after it in their old.
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
            writeln!(text, "-D {} {rule}", chain.name()).expect("a String takes everything");
        }
        let inserted = &new[kept_before..new.len() - kept_after];
        if inserted.is_empty() {
            return;
        }
        let first = self.rules_before(name, chain) + kept_before + 1;
        for (position, rule) in (first..).zip(inserted) {
            writeln!(text, "-I {} {position} {rule}", chain.name()).expect("a String takes everything");
        }
    }

    /// How many rules the service ports before this one have in a chain after the sync.
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

/// How many rules at the beginning and at the end stay as they are. None, if a rule occurs twice: `-D` takes
/// the first of equal rules away, whichever was meant.
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
