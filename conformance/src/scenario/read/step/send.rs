//! Reads `send`: scripts of raw packets.

use std::time::Duration;

use proxy_core::objects::Protocol;

use crate::scenario::FieldFault;
use crate::scenario::read::Reader;
use crate::scenario::segment::{ScriptLine, ScriptPayload, parse_line};
use crate::scenario::{Send, document};

/// Default timeout of an expected packet. Immediate responses arrive much earlier, and a script that expects silence
/// should not take long.
const TIMEOUT: Duration = Duration::from_secs(1);

impl Reader {
    pub(super) fn send(&mut self, path: &str, raw: &document::RawSend) -> Option<Send> {
        let from = self.reference(&format!("{path}.from"), &raw.from);
        let to = self.reference(&format!("{path}.to"), &raw.to);
        let protocol = self.transport(path, raw.protocol.as_deref());
        self.source_port(path, raw.source_port);
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
        let source_port = raw.source_port;
        Some(Send { from: from?, to: to?, protocol: protocol?, source_port, timeout: timeout?, segments })
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
