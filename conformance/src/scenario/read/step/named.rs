//! Reads the names of connections that later steps use: those of scripts, and those that `connect` keeps open.

use std::collections::btree_map::Entry;

use super::TIMEOUT;
use crate::scenario::read::{NamedConnection, Reader, nearest};
use crate::scenario::reference::is_name;
use crate::scenario::{Action, FieldFault, SendAgain, document};

impl Reader {
    pub(super) fn name_connection(&mut self, path: &str, name: &str, connection: NamedConnection) {
        if !is_name(name) {
            let fault = FieldFault::new(format!("invalid name {name:?} of a connection"))
                .expected("letters, digits, '-', '_' and '.'");
            return self.fault(path, fault);
        }
        match self.connections.entry(name.to_owned()) {
            Entry::Vacant(free) => {
                free.insert(connection);
            }
            Entry::Occupied(_) => {
                let fault = FieldFault::new(format!("an earlier step has a connection {name:?} already"))
                    .help(format!("use `continue: {name}` instead, without from and to, or another name"));
                self.fault(path, fault);
            }
        }
    }

    /// True for connections that an earlier step kept open, closed or not.
    pub(super) fn is_kept(&self, name: &str) -> bool {
        matches!(self.connections.get(name), Some(NamedConnection::Kept | NamedConnection::Closed))
    }

    /// The connection of an earlier step.
    pub(super) fn named(&mut self, path: &str, name: &str) -> Option<NamedConnection> {
        let found = self.connections.get(name).copied();
        if found.is_none() {
            let known: Vec<&str> = self.connections.keys().map(String::as_str).collect();
            let fault = FieldFault::new(format!("no earlier step has a connection {name:?}"));
            let fault = match nearest(name, &known) {
                Some(nearest) => fault.help(format!("did you mean {nearest:?}?")),
                None => fault.help(format!(
                    "add `keep: {name}` to the connect step that opens it, or `connection: {name}` to the send step \
                     that begins a script"
                )),
            };
            self.fault(path, fault);
        }
        found
    }

    /// Faults for fields that the first step of a connection determines.
    pub(super) fn nothing_fixed(&mut self, path: &str, raw: &document::RawSend, name: &str, expected: &str) {
        let fixed = [
            ("from", raw.from.is_some()),
            ("to", raw.to.is_some()),
            ("protocol", raw.protocol.is_some()),
            ("sourcePort", raw.source_port.is_some()),
            ("connection", raw.connection.is_some()),
        ];
        for (key, _) in fixed.into_iter().filter(|(_, is_given)| *is_given) {
            let fault = FieldFault::new(format!("{key} is that of the step that began connection {name:?}"))
                .expected(expected);
            self.faults.push(fault.at_key(format!("{path}.{key}")));
        }
    }

    /// Another request on kept connections.
    pub(super) fn send_again(
        &mut self,
        path: &str,
        raw: &document::RawSend,
        name: &str,
    ) -> Option<SendAgain> {
        self.nothing_fixed(path, raw, name, "only continue and timeout");
        if raw.segments.is_some() {
            let fault =
                FieldFault::new(format!("the client's own TCP or UDP sends on the kept connection {name:?}"))
                    .expected("only continue and timeout")
                    .help("for raw packets, begin the connection with a send step");
            self.faults.push(fault.at_key(format!("{path}.segments")));
        }
        let timeout = self.timeout(&format!("{path}.timeout"), raw.timeout.as_ref(), TIMEOUT);
        self.open_connection(&format!("{path}.continue"), name)?;
        Some(SendAgain { name: name.to_owned(), timeout: timeout? })
    }

    /// Closes kept connections.
    pub(super) fn close(&mut self, path: &str, name: String) -> Option<Action> {
        if let NamedConnection::Script(_) = self.named(path, &name)? {
            let fault = FieldFault::new(format!("connection {name:?} is that of a script")).help(
                "a script closes its connection with segments of its own, such as \"> F. 1:1(0) ack 1\"",
            );
            self.fault(path, fault);
            return None;
        }
        self.open_connection(path, &name)?;
        self.connections.insert(name.clone(), NamedConnection::Closed);
        Some(Action::Close { name })
    }

    /// Checks that kept connections were not closed by an earlier step.
    fn open_connection(&mut self, path: &str, name: &str) -> Option<()> {
        let is_closed = self.connections.get(name) == Some(&NamedConnection::Closed);
        let fault = || FieldFault::new(format!("an earlier step closed connection {name:?}"));
        self.field(path, if is_closed { Err(fault()) } else { Ok(()) })
    }
}
