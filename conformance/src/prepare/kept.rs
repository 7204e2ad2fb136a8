//! Steps on connections that earlier steps kept open.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::Preparation;
use super::plan::{FlowPlan, KeptAction, KeptPlan};
use super::resolve::own_address;
use crate::cluster::Cluster;
use crate::diagnostic::has_errors;
use crate::netns::NetnsName;
use crate::scenario::FieldFault;

/// Connections that later steps may use.
#[derive(Debug)]
pub(super) struct KeptFlows {
    plan: FlowPlan,
    client: Option<Place>,
}

/// Where a client is. Its network namespace stays as long as both stay.
type Place = (Ipv4Addr, Option<String>);

impl Preparation {
    /// Remembers the connections of a step, if it keeps them open.
    pub(super) fn keep(&mut self, plan: &FlowPlan, cluster: &Cluster) {
        let kept = || KeptFlows { plan: plan.clone(), client: place(cluster, &plan.from) };
        self.kept.extend(plan.keep.iter().map(|name| (name.clone(), kept())));
    }

    /// The plan of a step on these connections. `path` is that of their name.
    pub(super) fn kept(
        &mut self,
        path: &str,
        name: &str,
        action: KeptAction,
        timeout: Duration,
    ) -> Option<KeptPlan> {
        let Some(KeptFlows { plan, .. }) = self.kept.get(name) else {
            // After an error, the step that opens them may be missing.
            if !has_errors(&self.diagnostics) {
                let fault = FieldFault::new(format!("connection {name:?} ended with its client"))
                    .help("an earlier step removed the Pod or node that opened it");
                self.scenario_fault(&fault.at(path));
            }
            return None;
        };
        let opened = FlowPlan { timeout, ..plan.clone() };
        Some(KeptPlan { name: name.to_owned(), action, opened })
    }

    /// Forgets the connections of clients that are not part of the cluster any more.
    pub(super) fn forget_kept(&mut self, cluster: &Cluster) {
        self.kept.retain(|_, kept| place(cluster, &kept.plan.from) == kept.client);
    }
}

fn place(cluster: &Cluster, netns: &NetnsName) -> Option<Place> {
    let node = match netns {
        NetnsName::Pod(name) => cluster.pod(name).map(|pod| pod.node.clone()),
        NetnsName::Host(_) | NetnsName::Node(_) | NetnsName::Switch => None,
    };
    Some((own_address(cluster, netns)?, node))
}
