//! Reads `send`: scripts of raw packets.

use std::collections::btree_map::Entry;
use std::time::Duration;

use proxy_core::objects::Protocol;

use crate::scenario::FieldFault;
use crate::scenario::read::{Reader, nearest};
use crate::scenario::reference::is_name;
use crate::scenario::segment::{ScriptLine, ScriptPayload, parse_line};
use crate::scenario::{ScriptConnection, Send, document};

/// Default timeout of an expected packet. Immediate responses arrive much earlier, and a script that expects silence
/// should not take long.
const TIMEOUT: Duration = Duration::from_secs(1);

impl Reader {
    pub(super) fn send(&mut self, path: &str, raw: &document::RawSend) -> Option<Send> {
        let connection = match &raw.continued {
            None => self.new_connection(path, raw),
            Some(name) => self.continued_connection(path, raw, name),
        };
        let protocol = connection.as_ref().map(|(_, protocol)| *protocol);
        let timeout = self.timeout(&format!("{path}.timeout"), raw.timeout.as_ref(), TIMEOUT);
        let mut segments = Vec::new();
        for (index, text) in raw.segments.iter().enumerate() {
            let path = format!("{path}.segments[{index}]");
            let Some(line) = self.field(&path, parse_line(text)) else { continue };
            if let Some(fault) = protocol.and_then(|protocol| of_another_protocol(&line, protocol)) {
                self.fault(&path, fault);
            }
            segments.push(line);
        }
        if raw.segments.is_empty() {
            self.fault(&format!("{path}.segments"), FieldFault::new("no segments"));
        }
        Some(Send { connection: connection?.0, timeout: timeout?, segments })
    }

    /// The connection that begins with this step, and its protocol.
    fn new_connection(
        &mut self,
        path: &str,
        raw: &document::RawSend,
    ) -> Option<(ScriptConnection, Protocol)> {
        let mut end = |key: &str, text: Option<&String>| match text {
            Some(text) => self.reference(&format!("{path}.{key}"), text),
            None => {
                let fault = FieldFault::new(format!("missing field `{key}`"))
                    .help("to go on with the connection of an earlier step, use `continue: NAME` instead of from and to");
                self.faults.push(fault.at_key(path));
                None
            }
        };
        let (from, to) = (end("from", raw.from.as_ref()), end("to", raw.to.as_ref()));
        let protocol = self.transport(path, raw.protocol.as_deref());
        self.source_port(path, raw.source_port);
        let (from, to, protocol) = (from?, to?, protocol?);
        if let Some(name) = &raw.connection {
            self.name_connection(&format!("{path}.connection"), name, protocol);
        }
        let (source_port, name) = (raw.source_port, raw.connection.clone());
        Some((ScriptConnection::New { from, to, protocol, source_port, name }, protocol))
    }

    fn name_connection(&mut self, path: &str, name: &str, protocol: Protocol) {
        if !is_name(name) {
            let fault = FieldFault::new(format!("invalid name {name:?} of a connection"))
                .expected("letters, digits, '-', '_' and '.'");
            return self.fault(path, fault);
        }
        match self.connections.entry(name.to_owned()) {
            Entry::Vacant(free) => {
                free.insert(protocol);
            }
            Entry::Occupied(_) => {
                let fault = FieldFault::new(format!("an earlier step has a connection {name:?} already"))
                    .help(format!("use `continue: {name}` instead, without from and to, or another name"));
                self.fault(path, fault);
            }
        }
    }

    /// The connection of an earlier step, and its protocol.
    fn continued_connection(
        &mut self,
        path: &str,
        raw: &document::RawSend,
        name: &str,
    ) -> Option<(ScriptConnection, Protocol)> {
        let fixed = [
            ("from", raw.from.is_some()),
            ("to", raw.to.is_some()),
            ("protocol", raw.protocol.is_some()),
            ("sourcePort", raw.source_port.is_some()),
            ("connection", raw.connection.is_some()),
        ];
        for (key, _) in fixed.into_iter().filter(|(_, is_given)| *is_given) {
            let fault = FieldFault::new(format!("{key} is that of the step that began connection {name:?}"))
                .expected("only continue, timeout and segments");
            self.faults.push(fault.at_key(format!("{path}.{key}")));
        }
        let Some(protocol) = self.connections.get(name).copied() else {
            let known: Vec<&str> = self.connections.keys().map(String::as_str).collect();
            let fault = FieldFault::new(format!("no earlier step has a connection {name:?}"));
            let fault = match nearest(name, &known) {
                Some(nearest) => fault.help(format!("did you mean {nearest:?}?")),
                None => fault.help(format!("add `connection: {name}` to the send step that begins it")),
            };
            self.fault(&format!("{path}.continue"), fault);
            return None;
        };
        Some((ScriptConnection::Continued(name.to_owned()), protocol))
    }
}

/// A script has one protocol, and does not see packets of others.
fn of_another_protocol(line: &ScriptLine, protocol: Protocol) -> Option<FieldFault> {
    let packet = match line {
        ScriptLine::Send { packet, .. } | ScriptLine::Expect(packet) => packet,
        ScriptLine::ExpectNothing => return None,
    };
    let is_wrong = match (&packet.payload, protocol) {
        (ScriptPayload::Tcp(_), Protocol::Udp) | (ScriptPayload::Udp { .. }, Protocol::Tcp) => true,
        // That SCTP is not implemented is reported when the step is prepared; changing the protocol would not fix the
        // line.
        (ScriptPayload::Tcp(_) | ScriptPayload::Udp { .. }, Protocol::Sctp)
        | (ScriptPayload::Tcp(_), Protocol::Tcp)
        | (ScriptPayload::Udp { .. }, Protocol::Udp)
        | (ScriptPayload::Icmp(_), Protocol::Tcp | Protocol::Udp | Protocol::Sctp) => false,
    };
    let name = protocol.lower();
    let fault = || FieldFault::new(format!("this line does not belong to protocol {name}"));
    is_wrong.then(|| fault().help("protocol: tcp is the default; use protocol: udp for datagrams"))
}
