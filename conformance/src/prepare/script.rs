//! `send` steps with all references resolved.

use std::collections::BTreeMap;
use std::net::SocketAddrV4;

use proxy_core::objects::Protocol;

use super::Preparation;
use super::plan::ScriptPlan;
use super::resolve::{self, own_address};
use crate::cluster::Cluster;
use crate::netns::NetnsName;
use crate::observation::Transport;
use crate::scenario::{Action, FieldFault, Scenario, ScriptConnection, ScriptProtocol, Send};

/// The first default source port of scripts: above the ephemeral range (`net.ipv4.ip_local_port_range`), so that no
/// socket uses it.
const FIRST_PORT: u16 = 61_000;

/// Number of steps before a port is reused.
const PORT_COUNT: u16 = 4_000;

/// A connection that later steps continue.
#[derive(Debug)]
pub(super) struct OpenScript {
    name: String,
    /// The plan of its last step so far.
    plan: ScriptPlan,
    /// The last step that uses it.
    last: usize,
}

/// The last step that uses each named connection.
pub(super) fn last_uses(scenario: &Scenario) -> BTreeMap<String, usize> {
    let name = |action: &Action| match action {
        Action::Send(Send { connection: ScriptConnection::New { name, .. }, .. }) => name.clone(),
        Action::Send(Send { connection: ScriptConnection::Continued(name), .. }) => Some(name.clone()),
        Action::Connect(_)
        | Action::SendAgain(_)
        | Action::Close { .. }
        | Action::Ping(_)
        | Action::Resolve(_)
        | Action::Apply(_)
        | Action::Delete(_)
        | Action::Set(_)
        | Action::Sleep(_)
        | Action::Expect => None,
    };
    let steps = scenario.steps.iter().enumerate();
    steps.filter_map(|(index, step)| Some((name(&step.action)?, index))).collect()
}

impl Preparation {
    /// The plan of the step with that index.
    pub(super) fn send(
        &mut self,
        index: usize,
        path: &str,
        send: &Send,
        cluster: &Cluster,
    ) -> Option<ScriptPlan> {
        let plan = match &send.connection {
            ScriptConnection::New { .. } => self.begin(index, path, send, cluster)?,
            ScriptConnection::Continued(name) => self.continuation(index, path, send, name)?,
        };
        if let (ScriptConnection::New { name: Some(name), .. }, false) = (&send.connection, plan.stays_open) {
            let fault = FieldFault::new(format!("no later step continues connection {name:?}"))
                .help("omit connection, or add a step with `send: {continue: …}`");
            self.scenario_warning(&fault.at(format!("{path}.connection")));
        }
        Some(plan)
    }

    fn begin(&mut self, index: usize, path: &str, send: &Send, cluster: &Cluster) -> Option<ScriptPlan> {
        let ScriptConnection::New { from: sender, to: target, protocol, source_port, name } =
            &send.connection
        else {
            unreachable!("the step begins a connection")
        };
        let transport = match protocol {
            ScriptProtocol::Transport(protocol) => self.transport(path, *protocol)?,
            ScriptProtocol::Icmp => Transport::Icmp,
        };
        let from = self.client(&format!("{path}.from"), sender, cluster);
        if transport == Transport::Tcp && matches!(from, Some(NetnsName::Node(_))) {
            let fault = FieldFault::new(format!("{sender} is a node, whose own TCP would respond as well"))
                .expected("an external host, or a Pod without hostNetwork")
                .help("nodes play scripts with protocol: udp or protocol: icmp");
            self.scenario_fault(&fault.at(format!("{path}.from")));
            return None;
        }
        let to = match protocol {
            ScriptProtocol::Transport(protocol) => resolve::socket(cluster, target, *protocol),
            ScriptProtocol::Icmp => resolve::echo_target(cluster, target).map(|to| SocketAddrV4::new(to, 0)),
        };
        let to = self.found(&format!("{path}.to"), to);
        let (from, to) = (from?, to?);
        if let Some(open) = self.open_scripts.iter().find(|open| open.plan.from == from) {
            let fault = FieldFault::new(format!("connection {:?} of {sender} is still open", open.name))
                .help(
                    "a sender has one connection at a time: continue it for the last time before this step",
                );
            self.scenario_fault(&fault.at(format!("{path}.from")));
            return None;
        }
        let offset = u16::try_from(index % usize::from(PORT_COUNT)).unwrap_or(0);
        let last = name.as_ref().and_then(|name| self.last_uses.get(name)).copied().unwrap_or(index);
        let plan = ScriptPlan {
            client: own_address(cluster, &from)?,
            from,
            from_text: sender.to_string(),
            to,
            to_text: target.to_string(),
            transport,
            source_port: source_port.unwrap_or(FIRST_PORT + offset),
            timeout: send.timeout,
            lines: send.segments.clone(),
            is_continuation: false,
            stays_open: last > index,
            lines_before: 0,
        };
        if let (Some(name), true) = (name, plan.stays_open) {
            self.open_scripts.push(OpenScript { name: name.clone(), plan: plan.clone(), last });
        }
        Some(plan)
    }

    fn continuation(&mut self, index: usize, path: &str, send: &Send, name: &str) -> Option<ScriptPlan> {
        let Some(at) = self.open_scripts.iter().position(|open| open.name == name) else {
            let fault = FieldFault::new(format!("connection {name:?} ended with its sender"))
                .help("an earlier step removed the Pod that began it");
            self.scenario_fault(&fault.at(format!("{path}.continue")));
            return None;
        };
        let OpenScript { plan: before, last, .. } = &self.open_scripts[at];
        let plan = ScriptPlan {
            timeout: send.timeout,
            lines: send.segments.clone(),
            is_continuation: true,
            stays_open: *last > index,
            lines_before: before.lines_before + before.lines.len(),
            ..before.clone()
        };
        if plan.stays_open {
            self.open_scripts[at].plan = plan.clone();
        } else {
            self.open_scripts.remove(at);
        }
        Some(plan)
    }

    /// Ends connections of senders that are not part of the cluster any more.
    pub(super) fn forget_scripts(&mut self, cluster: &Cluster) {
        self.open_scripts.retain(|open| own_address(cluster, &open.plan.from) == Some(open.plan.client));
    }

    /// The transport of a protocol, if it is supported.
    pub(super) fn transport(&mut self, path: &str, protocol: Protocol) -> Option<Transport> {
        match protocol {
            Protocol::Tcp => Some(Transport::Tcp),
            Protocol::Udp => Some(Transport::Udp),
            Protocol::Sctp => {
                let fault = FieldFault::new("SCTP is not implemented yet").expected("tcp or udp");
                self.scenario_fault(&fault.at(format!("{path}.protocol")));
                None
            }
        }
    }
}
