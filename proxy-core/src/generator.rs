//! From a plan to what a node loads, with one generator per proxy mode.

use crate::iptables;
use crate::load::Load;
use crate::plan::{Plan, PlanChange};
use crate::stale_flows::FlowCleanup;

/// The generator of a proxy mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Generator {
    /// iptables mode.
    Iptables,
}

/// What a node does when its plan changes, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sync {
    /// What to load; empty if no rule changes.
    pub load: Vec<Load>,
    /// conntrack entries to delete after that.
    pub flows: FlowCleanup,
}

impl Generator {
    /// Everything that a node loads for this plan, starting from empty tables.
    pub fn load(self, plan: &Plan) -> Vec<Load> {
        let sysctls = plan.node.conntrack_sysctls.iter().cloned();
        let mut load: Vec<Load> = sysctls.map(|(name, value)| Load::Sysctl { name, value }).collect();
        match self {
            Self::Iptables => load.extend(iptables::load(plan)),
        }
        load
    }

    /// The change between two plans of the same node and family.
    ///
    /// # Panics
    /// If the plans have different families.
    pub fn sync(self, before: &Plan, after: &Plan) -> Sync {
        assert_eq!(before.family, after.family, "a sync has one family");
        let change = after.change_since(before);
        if before.node == after.node {
            return self.sync_change(after, &change);
        }
        let load = match self {
            Self::Iptables => iptables::sync::load(after, iptables::sync::between(before, after)),
        };
        Sync { load, flows: FlowCleanup::after(after, &change) }
    }

    /// The change after [`Plan::update`] changed the plan to `after`; the node itself is unchanged.
    pub fn sync_change(self, after: &Plan, change: &PlanChange) -> Sync {
        let load = match self {
            Self::Iptables => iptables::sync::load(after, iptables::sync::of_change(after, change)),
        };
        Sync { load, flows: FlowCleanup::after(after, change) }
    }
}
