//! kube-proxy's checks for servers without connections, in IPVS mode.
//!
//! kube-proxy checks its node every minute since its start. A run carries out a check when time passes in a step of its own; a
//! check that is due during another step follows it.

use std::collections::BTreeMap;
use std::time::Duration;

use proxy_core::ipvs::DRAIN_INTERVAL;
use proxy_core::load::{Load, Tool};

use super::Runner;
use crate::arm::{Arm, ArmError};
use crate::proxy::NodeUpdate;

/// When kube-proxy checks next, by node: times since the arm was built.
#[derive(Debug, Default)]
pub(super) struct DrainTimes(BTreeMap<String, Duration>);

impl DrainTimes {
    /// kube-proxy starts on a node.
    pub(super) fn start(&mut self, node: &str, now: Duration) {
        self.0.insert(node.to_owned(), now + DRAIN_INTERVAL);
    }

    /// The next check after `now`.
    fn skip_to(&mut self, node: &str, now: Duration) {
        if let Some(next) = self.0.get_mut(node) {
            while *next <= now {
                *next += DRAIN_INTERVAL;
            }
        }
    }
}

impl<A: Arm> Runner<A> {
    /// Lets time pass, and carries out the checks that are due meanwhile.
    pub(super) fn sleep(&mut self, duration: Duration) -> Result<(), ArmError> {
        let end = self.arm.elapsed() + duration;
        while let Some(due) = self.next_drain().filter(|due| *due <= end) {
            self.arm.sleep(due.saturating_sub(self.arm.elapsed()))?;
            self.drain_due()?;
        }
        self.arm.sleep(end.saturating_sub(self.arm.elapsed()))
    }

    /// Carries out the checks that are due.
    pub(super) fn drain_due(&mut self) -> Result<(), ArmError> {
        let now = self.arm.elapsed();
        let is_due = |node: &&str| self.drain_times.0.get(*node).is_some_and(|due| *due <= now);
        let due: Vec<String> = self.proxies.draining_nodes().filter(is_due).map(str::to_owned).collect();
        due.iter().try_for_each(|node| self.drain(node))
    }

    /// Deletes the servers of a node that have weight 0 and no connection.
    pub(super) fn drain(&mut self, node: &str) -> Result<(), ArmError> {
        if self.proxies.draining_nodes().any(|draining| draining == node) {
            let observed = self.arm.ipvs(node)?;
            let text = self.proxies.drain(node, |server| observed.connections_of(server).unwrap_or(0));
            if !text.is_empty() {
                let load = vec![Load::Text { tool: Tool::IpvsadmRestore, text }];
                self.arm.update(node, &NodeUpdate { load, stale: None })?;
            }
        }
        self.drain_times.skip_to(node, self.arm.elapsed());
        Ok(())
    }

    fn next_drain(&self) -> Option<Duration> {
        self.proxies.draining_nodes().filter_map(|node| self.drain_times.0.get(node).copied()).min()
    }
}
