//! Names of Services and their ports.

use std::cmp::Ordering;
use std::fmt;
use std::ops::Bound;
use std::sync::Arc;

use crate::objects::Protocol;

/// Namespace and name of an object, printed `namespace/name`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceName(Arc<str>);

impl ServiceName {
    /// The Service of this namespace and name.
    pub fn new(namespace: &str, name: &str) -> Self {
        Self([namespace, "/", name].concat().into())
    }

    /// The namespace.
    pub fn namespace(&self) -> &str {
        self.0.split_once('/').map_or("", |(namespace, _)| namespace)
    }

    /// The name.
    pub fn name(&self) -> &str {
        self.0.split_once('/').map_or("", |(_, name)| name)
    }

    /// `namespace/name`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for ServiceName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// The unit of kube-proxy's rules: one port of one Service, for one protocol.
///
/// Ordered by printed form, which is the order of rules in the shared chains.
#[derive(Clone)]
pub struct ServicePortName {
    text: Arc<str>,
    /// Length in bytes of the Service's part of `text`.
    service_length: usize,
    protocol: Protocol,
}

impl ServicePortName {
    /// The port named `port` (may be empty) of a Service.
    pub fn new(service: &ServiceName, port: &str, protocol: Protocol) -> Self {
        let colon = if port.is_empty() { "" } else { ":" };
        Self {
            text: [service.as_str(), colon, port].concat().into(),
            service_length: service.as_str().len(),
            protocol,
        }
    }

    /// The two ranges that contain all ports of a Service: the unnamed one, and the named ones. Other Services may sort
    /// between them (`a/b`, `a/b-c:x`, `a/b:x`).
    pub(crate) fn ranges_of(service: &ServiceName) -> [(Bound<Self>, Bound<Self>); 2] {
        let bound = |end: &str, protocol: Protocol| Self {
            text: [service.as_str(), end].concat().into(),
            service_length: 0,
            protocol,
        };
        // `;` is the character after `:`.
        [
            (Bound::Included(bound("", Protocol::Tcp)), Bound::Included(bound("", Protocol::Sctp))),
            (Bound::Included(bound(":", Protocol::Tcp)), Bound::Excluded(bound(";", Protocol::Tcp))),
        ]
    }

    /// The Service.
    pub fn service(&self) -> ServiceName {
        ServiceName(self.text[..self.service_length].into())
    }

    /// The port's name, possibly empty.
    pub fn port(&self) -> &str {
        self.text[self.service_length..].trim_start_matches(':')
    }

    /// The protocol.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// `namespace/name:port`, without a colon when the port has no name.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for ServicePortName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl fmt::Debug for ServicePortName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.text, self.protocol.lower())
    }
}

// The printed form determines everything except the protocol: names contain neither `/` nor `:`.
impl Ord for ServicePortName {
    fn cmp(&self, other: &Self) -> Ordering {
        // Plans before and after an update share their names: most comparisons end at the pointer.
        let text =
            if Arc::ptr_eq(&self.text, &other.text) { Ordering::Equal } else { self.text.cmp(&other.text) };
        text.then(self.protocol.cmp(&other.protocol))
    }
}

impl PartialOrd for ServicePortName {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for ServicePortName {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for ServicePortName {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_without_name_prints_no_colon() {
        let service = ServiceName::new("a", "b");
        for (port, expected) in [("", "a/b"), ("c", "a/b:c")] {
            assert_eq!(ServicePortName::new(&service, port, Protocol::Tcp).to_string(), expected);
        }
    }
}
