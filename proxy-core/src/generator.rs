//! From a plan to what a node loads: one generator for each proxy mode.

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
    /// What it loads; empty if no rule changes.
    pub load: Vec<Load>,
    /// conntrack entries to delete after that.
    pub flows: FlowCleanup,
}

impl Generator {
    /// Everything that a node loads for this plan, from nothing.
    pub fn load(self, plan: &Plan) -> Vec<Load> {
        let sysctls = plan.node.conntrack_sysctls.iter().cloned();
        let mut load: Vec<Load> = sysctls.map(|(name, value)| Load::Sysctl { name, value }).collect();
        match self {
            Self::Iptables => load.extend(iptables::load(plan)),
        }
        load
    }

    /// What a node does when a plan becomes another plan of the same node and family.
    ///
    /// # Panics
    /// If the plans are of different families: nothing turns one into the other.
    pub fn sync(self, before: &Plan, after: &Plan) -> Sync {
        assert_eq!(before.family, after.family, "a sync is within one family");
        let change = after.change_since(before);
        if before.node == after.node {
            return self.sync_change(after, &change);
        }
        let load = match self {
            Self::Iptables => iptables::sync::load(after, iptables::sync::between(before, after)),
        };
        Sync { load, flows: FlowCleanup::after(after, &change) }
    }

    /// What a node does after [`Plan::update`] changed its plan to `after`; the node itself has not changed.
    pub fn sync_change(self, after: &Plan, change: &PlanChange) -> Sync {
        let load = match self {
            Self::Iptables => iptables::sync::load(after, iptables::sync::of_change(after, change)),
        };
        Sync { load, flows: FlowCleanup::after(after, change) }
    }
}
