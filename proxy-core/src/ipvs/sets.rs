//! The members of all sets of a plan, and the text for `ipset restore`.

use super::members::members;
use super::set_table::{Member, SET_COUNT, SetId};
use crate::objects::IpFamily;
use crate::plan::Plan;

/// The members of every set.
#[derive(Debug)]
pub(super) struct Sets {
    family: IpFamily,
    /// By [`SetId`]; sorted.
    members: [Vec<Member>; SET_COUNT],
}

impl Sets {
    /// The sets of a plan.
    pub(super) fn new(plan: &Plan) -> Self {
        let mut all = [const { Vec::new() }; SET_COUNT];
        for service in plan.services.values() {
            members(service, &plan.node.ipvs, &mut |set, member| all[set as usize].push(member));
        }
        for members in &mut all {
            members.sort_unstable();
            members.dedup();
        }
        Self { family: plan.family, members: all }
    }

    /// The members of a set, sorted.
    pub(super) fn members(&self, set: SetId) -> &[Member] {
        &self.members[set as usize]
    }

    /// Which sets have members, by [`SetId`].
    pub(super) fn filled(&self) -> [bool; SET_COUNT] {
        self.members.each_ref().map(|members| !members.is_empty())
    }

    /// Input of `ipset restore`: every set, then every member.
    pub(super) fn restore(&self) -> String {
        const BYTES_PER_MEMBER: usize = 48;
        let count: usize = self.members.iter().map(Vec::len).sum();
        let mut text = String::with_capacity(2048 + count * BYTES_PER_MEMBER);
        for set in SetId::all() {
            set.write_create(&mut text, self.family);
        }
        for set in SetId::all() {
            for member in self.members(set).iter().filter(|member| member.is_storable()) {
                member.write(&mut text, "add", set, self.family);
            }
        }
        text
    }
}
