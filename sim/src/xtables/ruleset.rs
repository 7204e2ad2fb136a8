//! Tables, chains and the rules in them, with every change that a command can make.
//!
//! Rules are immutable and shared by all copies of a world; counters and the states of matches are apart. A change is made on
//! a copy of the table, which replaces the table only when all of it has succeeded.

use super::chain::ChainId;
use super::counters::{Count, Counters};
use super::index::Index;
use super::kind::TableKind;
use super::look::States;
use super::matches::{Match, Recent};
use super::recent_lists::{ListId, RecentLists};
use super::rule::{Rule, RuleSpec};
use super::targets::Target;
use crate::hook::Hook;
use crate::ipset::{Ipset, SetId};
use crate::trace::RuleSource;
use rustc_hash::FxHashMap;
use std::sync::{Arc, OnceLock};

/// What a base chain has and a user-defined one has not.
#[derive(Clone, Copy, Debug)]
pub(super) struct Base {
    pub(super) hook: Hook,
    pub(super) is_accept: bool,
    /// Where packets to which the policy applied are counted.
    pub(super) slot: u32,
}

/// A chain.
#[derive(Clone, Debug)]
pub(super) struct Chain {
    pub(super) name: Arc<str>,
    pub(super) base: Option<Base>,
    rules: Vec<Rule>,
    /// Made at the first packet; none for chains that are better walked.
    index: OnceLock<Option<Arc<Index>>>,
}

impl Chain {
    fn new(name: Arc<str>, base: Option<Base>) -> Self {
        Self { name, base, rules: Vec::new(), index: OnceLock::new() }
    }

    /// The rules, in order.
    pub(super) fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The index, if the chain is one that gains by it.
    pub(super) fn index(&self) -> Option<&Index> {
        self.index.get_or_init(|| Index::build(&self.rules).map(Arc::new)).as_deref()
    }

    fn rules_mut(&mut self) -> &mut Vec<Rule> {
        self.index = OnceLock::new();
        &mut self.rules
    }
}

/// The chains of a table.
#[derive(Clone, Debug, Default)]
pub(super) struct Chains {
    slots: Vec<Option<Arc<Chain>>>,
    /// Rules that jump or go to each chain.
    references: Vec<u32>,
    by_name: FxHashMap<Arc<str>, ChainId>,
    free: Vec<ChainId>,
}

impl Chains {
    /// The chain; identities are withdrawn only when nothing names the chain any more.
    #[inline]
    pub(super) fn get(&self, id: ChainId) -> &Chain {
        self.slots[id.index()].as_deref().expect("a chain to which something refers exists")
    }

    pub(super) fn find(&self, name: &str) -> Option<ChainId> {
        self.by_name.get(name).copied()
    }

    /// Base chains in the order of hooks, then user-defined chains by name, as the tool lists them.
    pub(super) fn sorted(&self) -> Vec<ChainId> {
        let mut ids: Vec<ChainId> = self.by_name.values().copied().collect();
        ids.sort_unstable_by(|one, other| {
            let key = |id: &ChainId| {
                let chain = self.get(*id);
                (chain.base.is_none(), chain.base.map(|base| base.hook))
            };
            key(one).cmp(&key(other)).then_with(|| self.get(*one).name.cmp(&self.get(*other).name))
        });
        ids
    }

    /// Every chain, in no order that means anything.
    pub(super) fn ids(&self) -> impl Iterator<Item = ChainId> {
        (0..).map(ChainId).zip(&self.slots).filter_map(|(id, chain)| chain.as_ref().map(|_| id))
    }

    /// How many identities there are, in use or not.
    pub(super) fn capacity(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn is_referenced(&self, id: ChainId) -> bool {
        self.references[id.index()] > 0
    }

    fn chain_mut(&mut self, id: ChainId) -> &mut Chain {
        Arc::make_mut(self.slots[id.index()].as_mut().expect("a chain to which something refers exists"))
    }

    fn add(&mut self, name: &str, base: Option<Base>) -> ChainId {
        let name: Arc<str> = name.into();
        let chain = Some(Arc::new(Chain::new(Arc::clone(&name), base)));
        let id = match self.free.pop() {
            Some(id) => {
                self.slots[id.index()] = chain;
                id
            }
            None => {
                self.slots.push(chain);
                self.references.push(0);
                ChainId(u32::try_from(self.slots.len() - 1).expect("fewer than 2^32 chains"))
            }
        };
        self.by_name.insert(name, id);
        id
    }

    fn refer(&mut self, target: &Target, difference: i32) {
        if let Some(id) = jumped_to(target) {
            let count = &mut self.references[id.index()];
            *count = count.checked_add_signed(difference).expect("references are counted one by one");
        }
    }
}

/// The chain to which a target goes.
pub(super) const fn jumped_to(target: &Target) -> Option<ChainId> {
    match target {
        Target::Jump(id) | Target::Goto(id) => Some(*id),
        Target::None
        | Target::Accept
        | Target::Drop
        | Target::Return
        | Target::Connmark(_)
        | Target::Ct(_)
        | Target::Log(_)
        | Target::Mark(_)
        | Target::Nat(_)
        | Target::Reject(_)
        | Target::Set(_)
        | Target::Trace => None,
    }
}

/// The lists of `recent` and the sets that rules of an unfinished change have taken up and given up.
#[derive(Clone, Debug, Default)]
struct NameChanges {
    taken: Vec<Recent>,
    given_up: Vec<ListId>,
    taken_sets: Vec<SetId>,
    given_up_sets: Vec<SetId>,
}

/// A rule that is to come into a chain.
#[derive(Debug)]
pub(super) struct NewRule {
    pub(super) spec: RuleSpec,
    pub(super) source: Arc<RuleSource>,
    pub(super) count: Count,
}

/// A table.
#[derive(Clone, Debug)]
pub(super) struct Table {
    pub(super) kind: TableKind,
    chains: Arc<Chains>,
    pub(super) counters: Counters,
    pub(super) states: States,
    /// Rules that ask conntrack or change what it knows.
    conntrack_rules: u32,
    name_changes: NameChanges,
}

impl Table {
    /// The table as it is when it is first touched: empty base chains that accept.
    pub(super) fn new(kind: TableKind) -> Self {
        let mut chains = Chains::default();
        let mut counters = Counters::default();
        for (hook, _) in kind.hooks() {
            let base = Base { hook: *hook, is_accept: true, slot: counters.allocate(Count::default()) };
            chains.add(hook.chain_name(), Some(base));
        }
        let name_changes = NameChanges::default();
        let chains = Arc::new(chains);
        Self { kind, chains, counters, states: States::default(), conntrack_rules: 0, name_changes }
    }

    pub(super) fn chains(&self) -> &Chains {
        &self.chains
    }

    /// Whether some rule needs packets to be tracked: its check makes the kernel register conntrack's hooks
    /// (`nf_ct_netns_get`, net/netfilter/nf_conntrack_proto.c).
    pub(super) const fn uses_conntrack(&self) -> bool {
        self.conntrack_rules > 0
    }

    /// The chains, and what changes while packets pass.
    pub(super) fn split(&mut self) -> (&Chains, &mut Counters, &mut States) {
        (&self.chains, &mut self.counters, &mut self.states)
    }

    /// The base chain at a hook.
    pub(super) fn base_chain(&self, hook: Hook) -> Option<ChainId> {
        // Base chains come first, in the order of the table's hooks, and are never deleted.
        let position = self.kind.hooks().iter().position(|(known, _)| *known == hook)?;
        Some(ChainId(u32::try_from(position).expect("there are five hooks")))
    }

    /// Makes a user-defined chain. The caller has checked that the name is free.
    pub(super) fn add_chain(&mut self, name: &str) -> ChainId {
        Arc::make_mut(&mut self.chains).add(name, None)
    }

    /// Deletes a chain that is empty and not referred to.
    pub(super) fn delete_chain(&mut self, id: ChainId) {
        let chains = Arc::make_mut(&mut self.chains);
        if let Some(chain) = chains.slots[id.index()].take() {
            chains.by_name.remove(&chain.name);
            chains.free.push(id);
        }
    }

    /// Gives a chain another name. The caller has checked that it is free.
    pub(super) fn rename_chain(&mut self, id: ChainId, name: &str) {
        let chains = Arc::make_mut(&mut self.chains);
        let name: Arc<str> = name.into();
        let old = std::mem::replace(&mut chains.chain_mut(id).name, Arc::clone(&name));
        chains.by_name.remove(&old);
        chains.by_name.insert(name, id);
    }

    pub(super) fn set_policy(&mut self, id: ChainId, is_accept: bool) {
        if let Some(base) = &mut Arc::make_mut(&mut self.chains).chain_mut(id).base {
            base.is_accept = is_accept;
        }
    }

    /// Puts a rule before position `at` (from 0).
    pub(super) fn insert_rule(&mut self, id: ChainId, at: usize, new: NewRule) {
        let NewRule { spec, source, count } = new;
        let taken = recents(&spec).cloned();
        self.name_changes.taken.extend(taken);
        self.name_changes.taken_sets.extend(spec.sets());
        self.conntrack_rules += u32::from(spec.uses_conntrack());
        let slot = self.counters.allocate(count);
        let chains = Arc::make_mut(&mut self.chains);
        chains.refer(&spec.target, 1);
        chains.chain_mut(id).rules_mut().insert(at, Rule { spec, slot, source });
    }

    /// Takes the rule at position `at` (from 0) away.
    pub(super) fn remove_rule(&mut self, id: ChainId, at: usize) {
        let chains = Arc::make_mut(&mut self.chains);
        let rule = chains.chain_mut(id).rules_mut().remove(at);
        self.forget(&rule);
    }

    /// Takes all rules of a chain away.
    pub(super) fn flush_chain(&mut self, id: ChainId) {
        if self.chains.get(id).rules.is_empty() {
            return;
        }
        let chains = Arc::make_mut(&mut self.chains);
        // A chain that another copy of the table shares is not worth copying for that.
        let slot = chains.slots[id.index()].as_mut().expect("a chain to which something refers exists");
        let empty = Chain::new(Arc::clone(&slot.name), slot.base);
        let old = std::mem::replace(slot, Arc::new(empty));
        for rule in &old.rules {
            self.forget(rule);
        }
    }

    /// What is kept for a rule outside of its chain.
    fn forget(&mut self, rule: &Rule) {
        Arc::make_mut(&mut self.chains).refer(&rule.spec.target, -1);
        self.conntrack_rules -= u32::from(rule.spec.uses_conntrack());
        self.counters.release(rule.slot);
        self.states.forget(rule.slot);
        self.name_changes.given_up.extend(recents(&rule.spec).map(Recent::list_id));
        self.name_changes.given_up_sets.extend(rule.spec.sets());
    }

    /// Ends a change that has succeeded. New rules take their lists before old ones give theirs up, so that a list which a
    /// replaced rule names keeps what it remembers.
    pub(super) fn settle(&mut self, lists: &mut RecentLists, sets: &mut Ipset) {
        let NameChanges { taken, given_up, taken_sets, given_up_sets } =
            std::mem::take(&mut self.name_changes);
        for recent in taken {
            recent.hold(lists);
        }
        for list in given_up {
            lists.release(list);
        }
        taken_sets.into_iter().for_each(|set| sets.hold(set));
        given_up_sets.into_iter().for_each(|set| sets.release(set));
    }
}

fn recents(spec: &RuleSpec) -> impl Iterator<Item = &Recent> {
    spec.matches.iter().filter_map(|one| if let Match::Recent(recent) = one { Some(&**recent) } else { None })
}
