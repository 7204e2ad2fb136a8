//! The smallest change of a node after a change of the plan, and graceful termination of real servers.
//!
//! A node has no transaction over virtual services, addresses, sets and rules, so the order matters: what traffic needs
//! comes before what sends traffic there. As in kube-proxy, the steps are:
//!
//! 1. virtual services are added or edited, and in each, servers are added before others leave: a VIP does not lose its
//!    last server before the next one is there;
//! 2. addresses are bound to `kube-ipvs0`;
//! 3. sets change, and then rules;
//! 4. addresses are unbound, and virtual services deleted.

mod content;
mod touched;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};
use std::time::Duration;

use super::claims::{Claims, Wants};
use super::rules::{self, Inputs};
use super::services::{VirtualService, write_timeouts};
use super::set_table::{SET_COUNT, Socket};
use super::sysctls;
use crate::iptables::restore_tool;
use crate::iptables::rules::{RestoreText, TableRules};
use crate::load::{Load, Tool};
use crate::objects::IpFamily;
use crate::plan::{NodePlan, Plan, PlanChange, ServiceChange, ServicePlan};
use content::Content;
use touched::Touched;

/// How long kube-proxy waits between two calls of [`NodeState::drain`]; the first is at its start.
///
/// kube-proxy: `rsCheckDeleteInterval` and `Run`, pkg/proxy/ipvs/graceful_termination.go.
pub const DRAIN_INTERVAL: Duration = Duration::from_secs(60);

/// A real server of a virtual service.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RealServer {
    /// The virtual service.
    pub service: VirtualService,
    /// `ip:port` or `[ip]:port`.
    pub address: Box<str>,
}

/// As ipvsadm names it: `-t 10.96.0.1:80 -r 10.244.0.1:8080`.
impl fmt::Display for RealServer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} -r {}", self.service, self.address)
    }
}

/// What kube-proxy knows about its node from one sync to the next.
#[derive(Debug, Clone)]
pub struct NodeState {
    family: IpFamily,
    node: NodePlan,
    claims: Claims,
    /// Real servers with weight 0.
    draining: BTreeSet<RealServer>,
    /// Virtual services that no service port wants, and that are never deleted.
    excluded: BTreeMap<VirtualService, Content>,
}

impl NodeState {
    /// A node that has loaded a plan ([`super::load`]).
    pub fn new(plan: &Plan) -> Self {
        Self::with(plan.family, &plan.node, plan.services.values().map(|service| &**service))
    }

    /// A node that has loaded the plan before `change` led to `after`; the node itself is unchanged.
    pub(crate) fn before(after: &Plan, change: &PlanChange) -> Self {
        let all: Vec<ServiceChange> = change.of_all(after).collect();
        Self::with(after.family, &after.node, all.iter().filter_map(|service| service.before.as_deref()))
    }

    fn with<'a>(family: IpFamily, node: &NodePlan, services: impl Iterator<Item = &'a ServicePlan>) -> Self {
        Self {
            family,
            node: node.clone(),
            claims: Claims::new(services, &node.ipvs),
            draining: BTreeSet::new(),
            excluded: BTreeMap::new(),
        }
    }

    /// What to load after `change` led to `after`; empty if nothing changes. The cost depends on the change, unless the
    /// node itself changed.
    ///
    /// A TCP server that leaves gets weight 0: call [`NodeState::drain`] right after the load, and then at every
    /// [`DRAIN_INTERVAL`].
    ///
    /// # Panics
    /// If the plan has another family, or `change` does not start at the plan of the last sync.
    pub fn sync(&mut self, after: &Plan, change: &PlanChange) -> Vec<Load> {
        assert_eq!(self.family, after.family, "a sync has one family");
        let changes: Vec<ServiceChange> =
            if self.node == after.node { change.services.clone() } else { change.of_all(after).collect() };
        let rules_before = self.rules();
        let touched = self.apply(&changes, after);
        let services = self.change_services(&touched, &changes, after);
        let node = std::mem::replace(&mut self.node, after.node.clone());
        let mut loads = Vec::new();
        let mut first = String::new();
        if node.ipvs != self.node.ipvs {
            loads.extend(sysctls(&self.node.ipvs));
            if node.ipvs.timeouts != self.node.ipvs.timeouts {
                write_timeouts(&mut first, &self.node.ipvs);
            }
        }
        let members = touched.members(&self.claims, self.family);
        let texts = [
            (Tool::IpvsadmRestore, first + &services.changed),
            (Tool::IpBatch, members.bound),
            (Tool::IpsetRestore, members.sets),
            (restore_tool(self.family), self.changed_chains(&node, &rules_before)),
            (Tool::IpBatch, members.unbound),
            (Tool::IpvsadmRestore, services.deleted),
        ];
        let texts = texts.into_iter().filter(|(_, text)| !text.is_empty());
        loads.extend(texts.map(|(tool, text)| Load::Text { tool, text }));
        loads
    }

    /// Lines for `ipvsadm --restore` that delete the draining servers without connections. `connections` returns the sum of
    /// ActiveConn and InActConn of a server, as `ipvsadm -Ln` lists them.
    ///
    /// kube-proxy: `tryDeleteRs`, pkg/proxy/ipvs/graceful_termination.go.
    pub fn drain(&mut self, mut connections: impl FnMut(&RealServer) -> u64) -> String {
        let mut text = String::new();
        self.draining.retain(|server| {
            let is_used = connections(server) > 0;
            if !is_used {
                writeln!(text, "-d {server}").expect("writing to a String does not fail");
            }
            is_used
        });
        text
    }

    /// The servers with weight 0, which get no new connections.
    pub fn draining(&self) -> impl ExactSizeIterator<Item = &RealServer> {
        self.draining.iter()
    }

    /// Replaces the claims of changed service ports, and returns what they had or have.
    fn apply(&mut self, changes: &[ServiceChange], after: &Plan) -> Touched {
        let mut touched = Touched::default();
        let wants = changes.iter().map(|ServiceChange { before, after: new, .. }| {
            let node = &self.node.ipvs;
            [Wants::of(before.as_deref(), node), Wants::of(new.as_deref(), &after.node.ipvs)]
        });
        let wants: Vec<[Wants; 2]> = wants.collect();
        for wants in wants.iter().flatten() {
            touched.note(&self.claims, wants);
        }
        for (change, [before, _]) in changes.iter().zip(&wants) {
            self.claims.remove(&change.name, before);
        }
        for (change, [_, after]) in changes.iter().zip(&wants) {
            if let Some(plan) = &change.after {
                self.claims.add(plan, after);
            }
        }
        touched
    }

    /// What the rules depend on, besides the node.
    fn rules(&self) -> ([bool; SET_COUNT], Vec<Socket>) {
        (self.claims.filled(), self.claims.closed())
    }

    /// Restore input for the chains whose rules changed.
    fn changed_chains(&self, node: &NodePlan, rules: &([bool; SET_COUNT], Vec<Socket>)) -> String {
        let now = self.rules();
        let mut text = RestoreText::default();
        if *rules == now && *node == self.node {
            return text.into_string();
        }
        let tables = |node, (filled, closed): &([bool; SET_COUNT], Vec<Socket>)| {
            rules::tables(&Inputs { family: self.family, node, filled: *filled, closed_to_the_node: closed })
        };
        for (before, after) in tables(node, rules).iter().zip(&tables(&self.node, &now)) {
            let (before, after_rules) = (by_chain(before), by_chain(after));
            let changed = || after_rules.iter().filter(|(chain, rules)| before.get(*chain) != Some(rules));
            if changed().next().is_some() {
                let rules = changed().flat_map(|(_, rules)| rules.iter().copied());
                text.table(after.table, changed().map(|(chain, _)| *chain), rules);
            }
        }
        text.into_string()
    }
}

/// The lines of every chain.
fn by_chain(table: &TableRules) -> BTreeMap<&str, Vec<&str>> {
    let mut chains: BTreeMap<&str, Vec<&str>> =
        table.chains.iter().map(|chain| (chain.as_str(), Vec::new())).collect();
    for line in table.rules.iter() {
        chains.entry(line.chain).or_default().push(line.text);
    }
    chains
}
