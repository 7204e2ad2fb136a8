//! From a plan to what a node loads, with one generator per proxy mode.

use crate::iptables;
use crate::ipvs::{self, NodeState, RealServer};
use crate::load::Load;
use crate::plan::{Plan, PlanChange};
use crate::stale_flows::FlowCleanup;

/// The generator of a proxy mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Generator {
    /// iptables mode.
    Iptables,
    /// IPVS mode.
    Ipvs,
}

/// What a node does when its plan changes, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sync {
    /// What to load; empty if no rule changes.
    pub load: Vec<Load>,
    /// IPVS servers with weight 0 since this load: to delete once they have no connection.
    pub draining: Vec<RealServer>,
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
            Self::Ipvs => load.extend(ipvs::load(plan)),
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
        let (load, draining) = match self {
            Self::Iptables => {
                (iptables::sync::load(after, iptables::sync::between(before, after)), Vec::new())
            }
            Self::Ipvs => ipvs_sync(NodeState::new(before), after, &change),
        };
        Sync { load, draining, flows: FlowCleanup::after(after, &change) }
    }

    /// The change after [`Plan::update`] changed the plan to `after`; the node itself is unchanged.
    pub fn sync_change(self, after: &Plan, change: &PlanChange) -> Sync {
        let (load, draining) = match self {
            Self::Iptables => {
                (iptables::sync::load(after, iptables::sync::of_change(after, change)), Vec::new())
            }
            Self::Ipvs => ipvs_sync(NodeState::before(after, change), after, change),
        };
        Sync { load, draining, flows: FlowCleanup::after(after, change) }
    }
}

/// A sync of a node without draining servers. A caller that keeps the [`NodeState`] needs no look at unchanged Services.
fn ipvs_sync(mut node: NodeState, after: &Plan, change: &PlanChange) -> (Vec<Load>, Vec<RealServer>) {
    let load = node.sync(after, change);
    (load, node.draining().cloned().collect())
}
