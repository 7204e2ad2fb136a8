//! Which service ports want which set members and virtual services.
//!
//! Service ports share them: two Services select the same Pod, two ports have one ClusterIP. A member leaves its set with
//! its last service port only. Counting makes the cost of a sync depend on what changes.

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;

use super::members::{closed_to_the_node, members};
use super::services::{VirtualService, offers};
use super::set_table::{Member, SET_COUNT, SetId, Socket};
use crate::names::ServicePortName;
use crate::plan::{IpvsNode, ServicePlan};

/// What one service port wants; nothing for an absent service port. Sorted, without duplicates.
#[derive(Debug, Default)]
pub(super) struct Wants {
    pub(super) members: Vec<(SetId, Member)>,
    pub(super) services: Vec<VirtualService>,
}

impl Wants {
    pub(super) fn of(plan: Option<&ServicePlan>, node: &IpvsNode) -> Self {
        let Some(plan) = plan else { return Self::default() };
        let mut wants = Self::default();
        members(plan, node, &mut |set, member| wants.members.push((set, member)));
        offers(plan, node, &mut |offer| wants.services.push(offer.service));
        wants.members.sort_unstable();
        wants.members.dedup();
        wants.services.sort_unstable();
        wants.services.dedup();
        wants
    }
}

/// What all service ports of a node want.
#[derive(Debug, Clone, Default)]
pub(super) struct Claims {
    /// The number of service ports that want a member. For look-up only.
    members: FxHashMap<(SetId, Member), u32>,
    /// The number of different members of each set, by [`SetId`].
    filled: [u32; SET_COUNT],
    /// The service ports that want a virtual service, sorted. For look-up only.
    services: FxHashMap<VirtualService, Vec<ServicePortName>>,
    /// Load balancer addresses that must not be used from the node itself.
    closed: BTreeMap<ServicePortName, Vec<Socket>>,
}

impl Claims {
    pub(super) fn new<'a>(plans: impl Iterator<Item = &'a ServicePlan>, node: &IpvsNode) -> Self {
        let mut claims = Self::default();
        for plan in plans {
            claims.add(plan, &Wants::of(Some(plan), node));
        }
        claims
    }

    /// Adds what a service port wants.
    pub(super) fn add(&mut self, plan: &ServicePlan, wants: &Wants) {
        for (set, member) in &wants.members {
            let count = self.members.entry((*set, *member)).or_default();
            *count += 1;
            self.filled[*set as usize] += u32::from(*count == 1);
        }
        for service in &wants.services {
            let names = self.services.entry(*service).or_default();
            if let Err(index) = names.binary_search(&plan.name) {
                names.insert(index, plan.name.clone());
            }
        }
        let closed: Vec<_> = closed_to_the_node(plan).collect();
        if !closed.is_empty() {
            self.closed.insert(plan.name.clone(), closed);
        }
    }

    /// Removes what a service port wanted.
    ///
    /// # Panics
    /// If it was not added.
    pub(super) fn remove(&mut self, name: &ServicePortName, wants: &Wants) {
        for key in &wants.members {
            let count = self.members.get_mut(key).expect("what is removed was added");
            *count -= 1;
            if *count == 0 {
                self.members.remove(key);
                self.filled[key.0 as usize] -= 1;
            }
        }
        for service in &wants.services {
            let names = self.services.get_mut(service).expect("what is removed was added");
            names.retain(|other| other != name);
            if names.is_empty() {
                self.services.remove(service);
            }
        }
        self.closed.remove(name);
    }

    /// True if a set has a member.
    pub(super) fn has(&self, member: &(SetId, Member)) -> bool {
        self.members.contains_key(member)
    }

    /// The service port that a virtual service serves: the last one that wants it.
    ///
    /// kube-proxy visits service ports in arbitrary order, and each one overwrites what another one left.
    pub(super) fn served(&self, service: &VirtualService) -> Option<&ServicePortName> {
        self.services.get(service).and_then(|names| names.last())
    }

    /// Which sets have members, by [`SetId`].
    pub(super) fn filled(&self) -> [bool; SET_COUNT] {
        self.filled.map(|count| count > 0)
    }

    /// Load balancer addresses that must not be used from the node itself, by name of the service port.
    pub(super) fn closed(&self) -> Vec<Socket> {
        self.closed.values().flatten().copied().collect()
    }
}
