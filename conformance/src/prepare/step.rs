//! Steps with all references resolved.

use std::collections::BTreeMap;
use std::net::{SocketAddr, SocketAddrV4};
use std::time::Duration;

use proxy_core::objects::Object;
use sim::socket::Sizes;

use super::Preparation;
use super::clock::{Clock, SETTLING};
use super::expectation::PreparedExpectation;
use super::plan::{FlowPlan, KeptAction, KeptPlan, REQUEST, ResolvePlan, ScriptPlan, StateChange};
use super::resolve::{self, own_address};
use super::script::last_uses;
use crate::cluster::{Cluster, ClusterChange};
use crate::http;
use crate::manifest::{self, SourceNode};
use crate::netns::NetnsName;
use crate::observation::Transport;
use crate::scenario::segment::ScriptLine;
use crate::scenario::{
    Action, Connect, FieldFault, Manifest, ObjectKey, Ping, ProxyMode, Reference, Scenario, SendAgain,
};

/// A validated step.
#[derive(Debug, Clone, PartialEq)]
pub struct PreparedStep {
    /// Its name.
    pub name: String,
    /// The keyword of its action.
    pub keyword: &'static str,
    /// The action.
    pub action: PreparedAction,
    /// Expectations by mode; modes without an entry have none.
    pub expect: BTreeMap<ProxyMode, PreparedExpectation>,
}

/// The action of a step.
#[derive(Debug, Clone, PartialEq)]
pub enum PreparedAction {
    /// Connections or echo requests, one after the other.
    Flows(FlowPlan),
    /// Requests on connections that are open, or the end of these.
    Kept(KeptPlan),
    /// Raw packets and expected replies.
    Script(ScriptPlan),
    /// Name resolution.
    Resolve(ResolvePlan),
    /// Changes the cluster, and updates kube-proxy on every node.
    Cluster(ClusterChange),
    /// Changes without manifests, in this order, after the cluster.
    Set {
        /// Changes of the readiness of Pods, if any.
        cluster: Option<ClusterChange>,
        /// All other changes.
        changes: Vec<StateChange>,
    },
    /// Lets virtual time pass.
    Sleep(Duration),
    /// No action; only the state is checked.
    Look,
}

impl Preparation {
    /// All steps, each prepared against the cluster that earlier steps produce.
    pub(super) fn steps(&mut self, scenario: &Scenario, cluster: &Cluster) -> Vec<PreparedStep> {
        let mut cluster = cluster.clone();
        self.last_uses = last_uses(scenario);
        let mut prepared = Vec::new();
        let mut clock = Clock::default();
        for (index, step) in scenario.steps.iter().enumerate() {
            let path = format!("spec.steps[{index}]");
            let faults_before = self.diagnostics.len();
            let Some((action, next)) = self.action(index, &path, &step.action, &cluster) else {
                if matches!(step.action, Action::Apply(_) | Action::Delete(_)) {
                    // Later steps would be checked against the wrong cluster.
                    return prepared;
                }
                continue;
            };
            if let Err(fault) = clock.advance(&format!("{path}.{}", step.action.keyword()), longest(&action))
            {
                self.scenario_fault(&fault);
                return prepared;
            }
            if let Some(next) = next {
                self.forget_scripts(&next);
                self.forget_kept(&next);
                cluster = next;
            }
            let flows = match &action {
                PreparedAction::Flows(flows) => Some(flows),
                PreparedAction::Kept(plan) => Some(&plan.opened),
                PreparedAction::Resolve(plan) => plan.queries.first(),
                PreparedAction::Script(_)
                | PreparedAction::Cluster(_)
                | PreparedAction::Set { .. }
                | PreparedAction::Sleep(_)
                | PreparedAction::Look => None,
            };
            let expect = self.expectations(&path, step.expect.as_ref(), &cluster, flows);
            if self.diagnostics.len() == faults_before || !crate::diagnostic::has_errors(&self.diagnostics) {
                let keyword = step.action.keyword();
                prepared.push(PreparedStep { name: step.name.clone(), keyword, action, expect });
            }
        }
        prepared
    }

    /// The prepared action, and the cluster after it if it changes.
    ///
    /// Only the change is kept for the run: clusters of all steps would need memory for steps times objects.
    fn action(
        &mut self,
        index: usize,
        path: &str,
        action: &Action,
        cluster: &Cluster,
    ) -> Option<(PreparedAction, Option<Cluster>)> {
        let path = format!("{path}.{}", action.keyword());
        let unchanged = |action| (action, None);
        match action {
            Action::Connect(connect) => {
                self.connect(&path, connect, cluster).map(PreparedAction::Flows).map(unchanged)
            }
            Action::Ping(ping) => self.ping(&path, ping, cluster).map(PreparedAction::Flows).map(unchanged),
            Action::Send(send) => {
                self.send(index, &path, send, cluster).map(PreparedAction::Script).map(unchanged)
            }
            Action::Resolve(resolve) => {
                self.resolve(index, &path, resolve, cluster).map(PreparedAction::Resolve).map(unchanged)
            }
            Action::SendAgain(SendAgain { name, timeout }) => {
                let path = format!("{path}.continue");
                self.kept(&path, name, KeptAction::Send, *timeout).map(PreparedAction::Kept).map(unchanged)
            }
            Action::Close { name } => self
                .kept(&path, name, KeptAction::Close, Duration::ZERO)
                .map(PreparedAction::Kept)
                .map(unchanged),
            Action::Apply(manifests) => {
                let objects = self.read_objects(manifests)?;
                let next = self.settled(cluster.apply(objects.clone()))?;
                self.nodes_stay(&path, cluster, &next)?;
                Some((PreparedAction::Cluster(ClusterChange::Apply(objects)), Some(next)))
            }
            Action::Delete(objects) => {
                let next = self.delete(&path, objects, cluster)?;
                self.nodes_stay(&path, cluster, &next)?;
                Some((PreparedAction::Cluster(ClusterChange::Delete(objects.clone())), Some(next)))
            }
            Action::Set(settings) => self.set(&path, settings, cluster),
            Action::Sleep(duration) => Some(unchanged(PreparedAction::Sleep(*duration))),
            Action::Expect => Some(unchanged(PreparedAction::Look)),
        }
    }

    fn connect(&mut self, path: &str, connect: &Connect, cluster: &Cluster) -> Option<FlowPlan> {
        let transport = self.transport(path, connect.protocol)?;
        let from = self.client(&format!("{path}.from"), &connect.from, cluster);
        let to = resolve::socket(cluster, &connect.to, connect.protocol);
        let to = self.found(&format!("{path}.to"), to);
        let (from, to) = (from?, to?);
        let via = resolve::via(cluster, &from, *to.ip());
        let plan = FlowPlan {
            client: own_address(cluster, &from)?.into(),
            from,
            from_text: connect.from.to_string(),
            to: to.into(),
            to_text: connect.to.to_string(),
            transport,
            request: request(connect, to),
            count: connect.count,
            source_port: connect.source_port,
            timeout: connect.timeout,
            via,
            keep: connect.keep.clone(),
        };
        self.keep(&plan, cluster);
        Some(plan)
    }

    fn ping(&mut self, path: &str, ping: &Ping, cluster: &Cluster) -> Option<FlowPlan> {
        let from = self.client(&format!("{path}.from"), &ping.from, cluster);
        let to = self.found(&format!("{path}.to"), resolve::echo_target(cluster, &ping.to));
        let (from, to) = (from?, to?);
        let via = resolve::via(cluster, &from, to);
        Some(FlowPlan {
            client: own_address(cluster, &from)?.into(),
            from,
            from_text: ping.from.to_string(),
            to: SocketAddr::new(to.into(), 0),
            to_text: ping.to.to_string(),
            transport: Transport::Icmp,
            request: REQUEST.to_vec(),
            count: ping.count,
            source_port: None,
            timeout: ping.timeout,
            via,
            keep: None,
        })
    }

    pub(super) fn client(&mut self, path: &str, from: &Reference, cluster: &Cluster) -> Option<NetnsName> {
        let netns = match &from.port {
            None => resolve::machine(cluster, &from.target),
            Some(_) => Err(FieldFault::new("a client has no port here")
                .expected(from.target.to_string())
                .help("use sourcePort for its source port")),
        };
        self.found(path, netns)
    }

    fn read_objects(&mut self, manifests: &[Manifest]) -> Option<Vec<Object>> {
        let source = self.scenario.as_ref()?.source;
        let mut objects: Vec<Object> = Vec::new();
        let mut is_sound = true;
        for manifest in manifests {
            let origin = SourceNode { source, node: manifest.node.clone() };
            match manifest::read_object(&origin) {
                Ok(Some(object)) => {
                    self.diagnostics.extend(manifest::unknown_fields(object.kind(), &origin));
                    self.origins.insert(ObjectKey::of(&object), origin);
                    objects.push(object);
                }
                Ok(None) => {}
                Err(diagnostic) => {
                    self.diagnostics.push(*diagnostic);
                    is_sound = false;
                }
            }
        }
        is_sound.then_some(objects)
    }

    fn delete(&mut self, path: &str, objects: &[ObjectKey], cluster: &Cluster) -> Option<Cluster> {
        let mut next = cluster.clone();
        for (index, object) in objects.iter().enumerate() {
            let Some(settled) = next.delete(object) else {
                let what = object.kind.name();
                let fault = FieldFault::new(format!("no {what} {} to delete", object.name));
                let is_list = self.scenario.as_ref()?.node.at(&format!("{path}[{index}]")).is_some();
                let path = if is_list { format!("{path}[{index}]") } else { path.to_owned() };
                self.scenario_fault(&fault.at(path));
                return None;
            };
            next = self.settled(settled)?;
        }
        Some(next)
    }

    /// Nodes may join and leave, but not change, nor may the network between them.
    fn nodes_stay(&mut self, path: &str, before: &Cluster, after: &Cluster) -> Option<()> {
        let changed =
            before.nodes().iter().find(|node| after.node(&node.name).is_some_and(|now| now != *node));
        let fault = if let Some(node) = changed {
            FieldFault::new(format!("this step changes the address or the pod CIDR of {}", node.name))
                .help("delete the node, and apply it in a later step")
        } else if (before.lan(), before.gateway()) != (after.lan(), after.gateway()) {
            FieldFault::new(format!(
                "this step changes the nodes' network from {} to {}",
                before.lan(),
                after.lan()
            ))
            .expected(format!("nodes with addresses in {}", before.lan()))
            .help("set spec.network.nodeCIDR to a network that contains all nodes of the scenario")
        } else {
            return Some(());
        };
        self.scenario_fault(&fault.at_key(path));
        None
    }

    /// The path of the matching entry under `path`, as written: `pod/web` may be `pod/default/web`. With several
    /// matches the last one, which is the duplicate.
    pub(super) fn written(&self, path: &str, is_meant: impl Fn(&str) -> bool) -> String {
        let node = self.scenario.as_ref().and_then(|origin| origin.node.at(path));
        let key = node.and_then(|node| node.mapping()?.keys().rfind(|key| is_meant(key)));
        format!("{path}.{}", key.map_or("", |key| key))
    }

    /// The value, or a diagnostic at `path`.
    pub(super) fn found<T>(&mut self, path: &str, result: Result<T, FieldFault>) -> Option<T> {
        result.map_err(|fault| self.scenario_fault(&fault.at(path))).ok()
    }

    /// The value, or a diagnostic at the key of `path`.
    pub(super) fn found_key<T>(&mut self, path: &str, result: Result<T, FieldFault>) -> Option<T> {
        result.map_err(|fault| self.scenario_fault(&fault.at_key(path))).ok()
    }
}

/// The maximum duration of a step.
fn longest(action: &PreparedAction) -> Duration {
    match action {
        PreparedAction::Flows(plan) => {
            let one = plan.timeout.saturating_add(SETTLING);
            one.saturating_mul(plan.count).saturating_add(SETTLING)
        }
        PreparedAction::Kept(plan) => {
            let one = plan.opened.timeout.saturating_add(SETTLING);
            one.saturating_mul(plan.opened.count).saturating_add(SETTLING)
        }
        PreparedAction::Resolve(plan) => {
            let queries = plan.queries.iter().map(|query| query.timeout.saturating_add(SETTLING));
            queries.fold(SETTLING, Duration::saturating_add)
        }
        PreparedAction::Script(plan) => {
            let waits = plan.lines.iter().map(|line| match line {
                ScriptLine::Send { delay, .. } => *delay,
                ScriptLine::Expect(_) | ScriptLine::ExpectNothing => plan.timeout,
            });
            waits.fold(SETTLING, Duration::saturating_add)
        }
        PreparedAction::Sleep(duration) => *duration,
        PreparedAction::Cluster(_) | PreparedAction::Set { .. } | PreparedAction::Look => Duration::ZERO,
    }
}

/// The payload of a client, which also selects that of the response.
fn request(connect: &Connect, to: SocketAddrV4) -> Vec<u8> {
    if let Some(path) = &connect.http {
        return http::get(path, &to.to_string());
    }
    match (connect.send, connect.receive) {
        (None, None) => REQUEST.to_vec(),
        (send, receive) => {
            Sizes { send: send.unwrap_or(Sizes::SEND_MIN), receive: receive.unwrap_or(0) }.request()
        }
    }
}
