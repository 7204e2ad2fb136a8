//! `send` steps with all references resolved.

use proxy_core::objects::Protocol;

use super::Preparation;
use super::plan::ScriptPlan;
use super::resolve::{self, own_address};
use crate::cluster::Cluster;
use crate::netns::NetnsName;
use crate::observation::Transport;
use crate::scenario::{FieldFault, Send};

/// The first default source port of scripts: above the ephemeral range (`net.ipv4.ip_local_port_range`), so that no
/// socket uses it.
const FIRST_PORT: u16 = 61_000;

/// Number of steps before a port is reused.
const PORT_COUNT: u16 = 4_000;

impl Preparation {
    /// The plan of the step with that index.
    pub(super) fn send(
        &mut self,
        index: usize,
        path: &str,
        send: &Send,
        cluster: &Cluster,
    ) -> Option<ScriptPlan> {
        let transport = self.transport(path, send.protocol)?;
        let from = self.client(&format!("{path}.from"), &send.from, cluster);
        if let Some(NetnsName::Node(_) | NetnsName::Switch) = &from {
            let fault =
                FieldFault::new(format!("{} is a node, whose own TCP would respond as well", send.from))
                    .expected("an external host, or a Pod without hostNetwork");
            self.scenario_fault(&fault.at(format!("{path}.from")));
            return None;
        }
        let to = self.found(&format!("{path}.to"), resolve::socket(cluster, &send.to, send.protocol));
        let (from, to) = (from?, to?);
        let offset = u16::try_from(index % usize::from(PORT_COUNT)).unwrap_or(0);
        Some(ScriptPlan {
            client: own_address(cluster, &from)?,
            from,
            from_text: send.from.to_string(),
            to,
            to_text: send.to.to_string(),
            transport,
            source_port: send.source_port.unwrap_or(FIRST_PORT + offset),
            timeout: send.timeout,
            lines: send.segments.clone(),
        })
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
