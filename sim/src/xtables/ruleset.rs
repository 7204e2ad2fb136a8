//! Tables, chains and rules, and the operations on them.
//!
//! Rules are immutable and shared by all copies of a world; counters and match state are separate. A change is made on
//! a copy of the table, which replaces the table only if all of it succeeds.

use super::chain::ChainId;
use super::counters::{Count, RuleCounters};
use super::index::RuleIndex;
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

/// The extra fields of a base chain.
#[derive(Clone, Copy, Debug)]
pub(super) struct BaseChain {
    pub(super) hook: Hook,
    pub(super) is_accept: bool,
    /// Slot of the policy's counter.
    pub(super) slot: u32,
}

/// A chain.
#[derive(Clone, Debug)]
pub(super) struct Chain {
    pub(super) name: Arc<str>,
    pub(super) base: Option<BaseChain>,
    rules: Vec<Rule>,
    /// Built at the first packet; `None` for chains that do not gain from an index.
    index: OnceLock<Option<Arc<RuleIndex>>>,
}

impl Chain {
    fn new(name: Arc<str>, base: Option<BaseChain>) -> Self {
        Self { name, base, rules: Vec::new(), index: OnceLock::new() }
    }

    /// The rules, in order.
    pub(super) fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The index, if the chain gains from one.
    pub(super) fn index(&self) -> Option<&RuleIndex> {
        self.index.get_or_init(|| RuleIndex::build(&self.rules).map(Arc::new)).as_deref()
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
    /// Number of rules that jump to each chain.
    references: Vec<u32>,
    by_name: FxHashMap<Arc<str>, ChainId>,
    free: Vec<ChainId>,
}

impl Chains {
    /// A chain; ids are valid as long as anything references the chain.
    #[inline]
    pub(super) fn get(&self, id: ChainId) -> &Chain {
        self.slots[id.index()].as_deref().expect("a referenced chain exists")
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

    /// All chains, in unspecified order.
    pub(super) fn ids(&self) -> impl Iterator<Item = ChainId> {
        (0..).map(ChainId).zip(&self.slots).filter_map(|(id, chain)| chain.as_ref().map(|_| id))
    }

    /// Number of ids, used or free.
    pub(super) fn capacity(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn is_referenced(&self, id: ChainId) -> bool {
        self.references[id.index()] > 0
    }

    fn chain_mut(&mut self, id: ChainId) -> &mut Chain {
        Arc::make_mut(self.slots[id.index()].as_mut().expect("a referenced chain exists"))
    }

    fn add(&mut self, name: &str, base: Option<BaseChain>) -> ChainId {
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

/// The chain that a target jumps to.
pub(super) const fn jumped_to(target: &Target) -> Option<ChainId> {
    match target {
        Target::Jump(id) | Target::Goto(id) => Some(*id),
        Target::None
        | Target::Accept
        | Target::Drop
        | Target::Return
        | Target::Checksum(_)
        | Target::Connmark(_)
        | Target::Ct(_)
        | Target::Log(_)
        | Target::Mark(_)
        | Target::Nat(_)
        | Target::Nflog(_)
        | Target::Reject(_)
        | Target::Set(_)
        | Target::Tcpmss(_)
        | Target::Tproxy(_)
        | Target::Trace => None,
    }
}

/// The `recent` lists and sets that rules of an unfinished change acquired and released.
#[derive(Clone, Debug, Default)]
struct NameChanges {
    taken: Vec<Recent>,
    given_up: Vec<ListId>,
    taken_sets: Vec<SetId>,
    given_up_sets: Vec<SetId>,
}

/// A rule to be added to a chain.
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
    pub(super) counters: RuleCounters,
    pub(super) states: States,
    /// Number of rules that use or change conntrack.
    conntrack_rules: u32,
    name_changes: NameChanges,
}

impl Table {
    /// A table in its initial state: empty base chains with policy ACCEPT.
    pub(super) fn new(kind: TableKind) -> Self {
        let mut chains = Chains::default();
        let mut counters = RuleCounters::default();
        for (hook, _) in kind.hooks() {
            let base = BaseChain { hook: *hook, is_accept: true, slot: counters.allocate(Count::default()) };
            chains.add(hook.chain_name(), Some(base));
        }
        let name_changes = NameChanges::default();
        let chains = Arc::new(chains);
        Self { kind, chains, counters, states: States::default(), conntrack_rules: 0, name_changes }
    }

    pub(super) fn chains(&self) -> &Chains {
        &self.chains
    }

    /// True if a rule needs connection tracking: its check makes the kernel register conntrack's hooks
    /// (`nf_ct_netns_get`, net/netfilter/nf_conntrack_proto.c).
    pub(super) const fn uses_conntrack(&self) -> bool {
        self.conntrack_rules > 0
    }

    /// The chains, and the state that packets change.
    pub(super) fn split(&mut self) -> (&Chains, &mut RuleCounters, &mut States) {
        (&self.chains, &mut self.counters, &mut self.states)
    }

    /// The base chain at a hook.
    pub(super) fn base_chain(&self, hook: Hook) -> Option<ChainId> {
        // Base chains come first, in the order of the table's hooks, and are never deleted.
        let position = self.kind.hooks().iter().position(|(known, _)| *known == hook)?;
        Some(ChainId(u32::try_from(position).expect("there are five hooks")))
    }

    /// Adds a user-defined chain. The caller has checked that the name is free.
    pub(super) fn add_chain(&mut self, name: &str) -> ChainId {
        Arc::make_mut(&mut self.chains).add(name, None)
    }

    /// Deletes an empty, unreferenced chain.
    pub(super) fn delete_chain(&mut self, id: ChainId) {
        let chains = Arc::make_mut(&mut self.chains);
        if let Some(chain) = chains.slots[id.index()].take() {
            chains.by_name.remove(&chain.name);
            chains.free.push(id);
        }
    }

    /// Renames a chain. The caller has checked that the name is free.
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

    /// Inserts a rule before position `at` (zero-based).
    pub(super) fn insert_rule(&mut self, id: ChainId, at: usize, new: NewRule) {
        let NewRule { spec, source, count } = new;
        let taken = recents(&spec).cloned();
        self.name_changes.taken.extend(taken);
        self.name_changes.taken_sets.extend(spec.sets());
        self.conntrack_rules += u32::from(spec.uses_conntrack());
        let slot = self.counters.allocate(count);
        let chains = Arc::make_mut(&mut self.chains);
        chains.refer(&spec.target, 1);
        chains.chain_mut(id).rules_mut().insert(at, Rule::new(spec, slot, source));
    }

    /// Removes the rule at position `at` (zero-based).
    pub(super) fn remove_rule(&mut self, id: ChainId, at: usize) {
        let chains = Arc::make_mut(&mut self.chains);
        let rule = chains.chain_mut(id).rules_mut().remove(at);
        self.forget(&rule);
    }

    /// Removes all rules of a chain.
    pub(super) fn flush_chain(&mut self, id: ChainId) {
        if self.chains.get(id).rules.is_empty() {
            return;
        }
        let chains = Arc::make_mut(&mut self.chains);
        // Not worth copying a chain that another copy of the table shares.
        let slot = chains.slots[id.index()].as_mut().expect("a referenced chain exists");
        let empty = Chain::new(Arc::clone(&slot.name), slot.base);
        let old = std::mem::replace(slot, Arc::new(empty));
        for rule in &old.rules {
            self.forget(rule);
        }
    }

    /// Drops the state of a rule that is stored outside its chain.
    fn forget(&mut self, rule: &Rule) {
        Arc::make_mut(&mut self.chains).refer(&rule.spec.target, -1);
        self.conntrack_rules -= u32::from(rule.spec.uses_conntrack());
        self.counters.release(rule.slot);
        self.states.forget(rule.slot);
        self.name_changes.given_up.extend(recents(&rule.spec).map(Recent::list_id));
        self.name_changes.given_up_sets.extend(rule.spec.sets());
    }

    /// Finishes a successful change. New rules acquire their lists before old ones release theirs, so that a list used
    /// by a replaced rule keeps its entries.
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
