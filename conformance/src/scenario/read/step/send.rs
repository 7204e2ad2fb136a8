//! Reads `send`: scripts of raw packets.

use std::time::Duration;

use proxy_core::objects::Protocol;

use crate::scenario::read::{NamedConnection, Reader};
use crate::scenario::segment::{ScriptIcmp, ScriptLine, ScriptPayload, parse_line};
use crate::scenario::{Action, FieldFault, ScriptConnection, ScriptProtocol, Send, document};

/// Default timeout of an expected packet. Immediate responses arrive much earlier, and a script that expects silence
/// should not take long.
const TIMEOUT: Duration = Duration::from_secs(1);

impl Reader {
    /// A script, or another request on connections that a step keeps open.
    pub(super) fn send(&mut self, path: &str, raw: &document::RawSend) -> Option<Action> {
        match &raw.continued {
            Some(name) if self.is_kept(name) => self.send_again(path, raw, name).map(Action::SendAgain),
            Some(_) | None => self.script(path, raw).map(Action::Send),
        }
    }

    fn script(&mut self, path: &str, raw: &document::RawSend) -> Option<Send> {
        let connection = match &raw.continued {
            None => self.new_connection(path, raw),
            Some(name) => self.continued_connection(path, raw, name),
        };
        let protocol = connection.as_ref().map(|(_, protocol)| *protocol);
        let timeout = self.timeout(&format!("{path}.timeout"), raw.timeout.as_ref(), TIMEOUT);
        let Some(texts) = &raw.segments else {
            // With an unknown name, a kept connection may be meant.
            if raw.continued.is_none() || connection.is_some() {
                let fault = FieldFault::new("missing field `segments`");
                self.faults.push(fault.at_key(path));
            }
            return None;
        };
        let mut segments = Vec::new();
        for (index, text) in texts.iter().enumerate() {
            let path = format!("{path}.segments[{index}]");
            let Some(line) = self.field(&path, parse_line(text)) else { continue };
            if let Some(fault) = protocol.and_then(|protocol| of_another_protocol(&line, protocol)) {
                self.fault(&path, fault);
            }
            segments.push(line);
        }
        if raw.continued.is_none()
            && let Some(index) = quotes_nothing(&segments)
        {
            self.fault(&format!("{path}.segments[{index}]"), nothing_to_quote());
        }
        if texts.is_empty() {
            self.fault(&format!("{path}.segments"), FieldFault::new("no segments"));
        }
        Some(Send { connection: connection?.0, timeout: timeout?, segments })
    }

    /// The connection that begins with this step, and its protocol.
    fn new_connection(
        &mut self,
        path: &str,
        raw: &document::RawSend,
    ) -> Option<(ScriptConnection, ScriptProtocol)> {
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
        let protocol = self.script_protocol(path, raw.protocol.as_deref());
        self.source_port(path, raw.source_port);
        let (from, to, protocol) = (from?, to?, protocol?);
        if let Some(name) = &raw.connection {
            self.name_connection(&format!("{path}.connection"), name, NamedConnection::Script(protocol));
        }
        let (source_port, name) = (raw.source_port, raw.connection.clone());
        Some((ScriptConnection::New { from, to, protocol, source_port, name }, protocol))
    }

    fn script_protocol(&mut self, path: &str, text: Option<&str>) -> Option<ScriptProtocol> {
        match text {
            Some(text) if text.eq_ignore_ascii_case("icmp") => Some(ScriptProtocol::Icmp),
            text => self.transport(path, text).map(ScriptProtocol::Transport),
        }
    }

    /// The connection of an earlier step, and its protocol.
    fn continued_connection(
        &mut self,
        path: &str,
        raw: &document::RawSend,
        name: &str,
    ) -> Option<(ScriptConnection, ScriptProtocol)> {
        self.nothing_fixed(path, raw, name, "only continue, timeout and segments");
        match self.named(&format!("{path}.continue"), name)? {
            NamedConnection::Script(protocol) => {
                Some((ScriptConnection::Continued(name.to_owned()), protocol))
            }
            NamedConnection::Kept | NamedConnection::Closed => None,
        }
    }
}

/// A script has one protocol, and does not see packets of others.
fn of_another_protocol(line: &ScriptLine, protocol: ScriptProtocol) -> Option<FieldFault> {
    let packet = match line {
        ScriptLine::Send { packet, .. } | ScriptLine::Expect(packet) => packet,
        ScriptLine::ExpectNothing => return None,
    };
    let is_wrong = !belongs_to(&packet.payload, protocol);
    let fault = || FieldFault::new(format!("this line does not belong to protocol {}", protocol.name()));
    is_wrong.then(|| {
        fault().help(
            "protocol: tcp is the default; use protocol: udp for datagrams, protocol: icmp for echo requests",
        )
    })
}

fn belongs_to(payload: &ScriptPayload, protocol: ScriptProtocol) -> bool {
    match payload {
        ScriptPayload::Tcp(_) => is_transport(protocol, Protocol::Tcp),
        ScriptPayload::Udp { .. } => is_transport(protocol, Protocol::Udp),
        ScriptPayload::Icmp(ScriptIcmp::Echo(_)) => protocol == ScriptProtocol::Icmp,
        ScriptPayload::Icmp(ScriptIcmp::Error(error)) => {
            error.quote.as_ref().is_none_or(|quote| belongs_to(&quote.payload, protocol))
        }
    }
}

/// That SCTP is not implemented is reported when the step is prepared; changing the protocol would not fix the line.
fn is_transport(protocol: ScriptProtocol, transport: Protocol) -> bool {
    protocol == ScriptProtocol::Transport(transport) || protocol == ScriptProtocol::Transport(Protocol::Sctp)
}

/// The first line that sends an ICMP error about the last received packet before one is expected.
fn quotes_nothing(lines: &[ScriptLine]) -> Option<usize> {
    let is_packet = |line: &ScriptLine| match line {
        ScriptLine::Expect(packet) => !matches!(packet.payload, ScriptPayload::Icmp(ScriptIcmp::Error(_))),
        ScriptLine::Send { .. } | ScriptLine::ExpectNothing => false,
    };
    let quotes_last = |line: &ScriptLine| match line {
        ScriptLine::Send { packet, .. } => match &packet.payload {
            ScriptPayload::Icmp(ScriptIcmp::Error(error)) => error.quote.is_none(),
            ScriptPayload::Icmp(ScriptIcmp::Echo(_)) | ScriptPayload::Tcp(_) | ScriptPayload::Udp { .. } => {
                false
            }
        },
        ScriptLine::Expect(_) | ScriptLine::ExpectNothing => false,
    };
    let first_packet = lines.iter().position(is_packet).unwrap_or(lines.len());
    lines[..first_packet].iter().position(quotes_last)
}

fn nothing_to_quote() -> FieldFault {
    FieldFault::new("no packet is expected before this ICMP error, which quotes the last one")
        .expected("a \"<\" line before it, or the quoted packet in brackets, such as [udp (8)]")
}
