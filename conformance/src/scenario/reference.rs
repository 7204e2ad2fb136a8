//! Typed references, as steps and expectations write them.
//!
//! ```text
//! client  node-1             an external host or a node, by its unique name
//! host/client                an external host, explicitly
//! pod/web-0  pod/prod/web-0  a Pod, in namespace `default` or the given one
//! node/node-1                a process on a node; as a destination, the node's address
//! service/web:http           the ClusterIP of a Service; the port by number or name
//! 10.0.0.1:80  [fd00::1]:80  an address
//! ```
//!
//! Names of Kubernetes objects contain no slash, so `pod/prod/web-0` is unambiguous; they may contain dots.

use std::fmt;
use std::net::IpAddr;

use proxy_core::ObjectError;
use proxy_core::objects::{Kind, Object};
use serde::{Deserialize, Serialize};

use crate::scenario::FieldFault;

/// Namespace and name of an object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ObjectName {
    /// Its namespace, `default` if omitted.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// The identity of an object: kind, namespace and name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace and name. Cluster-scoped kinds have namespace `default` here.
    pub name: ObjectName,
}

impl ObjectKey {
    /// The key of an object. kube-proxy's configuration has no name; there is at most one.
    pub fn of(object: &Object) -> Self {
        let name = match object.metadata() {
            Some(metadata) if is_namespaced(object.kind()) => {
                ObjectName::new(metadata.namespace(), &metadata.name)
            }
            Some(metadata) => ObjectName::new("default", &metadata.name),
            None => ObjectName::new("default", ""),
        };
        Self { kind: object.kind(), name }
    }

    /// The key of the object that an error refers to.
    pub fn of_error(error: &ObjectError) -> Self {
        let namespace = if is_namespaced(error.kind) { &*error.namespace } else { "default" };
        Self { kind: error.kind, name: ObjectName::new(namespace, &*error.name) }
    }
}

/// True if objects of this kind have a namespace.
pub const fn is_namespaced(kind: Kind) -> bool {
    match kind {
        Kind::Namespace | Kind::Node | Kind::KubeProxyConfiguration => false,
        Kind::Pod
        | Kind::Deployment
        | Kind::ReplicaSet
        | Kind::StatefulSet
        | Kind::DaemonSet
        | Kind::ReplicationController
        | Kind::Job
        | Kind::Service
        | Kind::EndpointSlice
        | Kind::Endpoints => true,
    }
}

/// The target, without port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// `host/NAME`.
    Host(String),
    /// `pod/[NAMESPACE/]NAME`.
    Pod(ObjectName),
    /// `node/NAME`.
    Node(String),
    /// `service/[NAMESPACE/]NAME`.
    Service(ObjectName),
    /// An IP address.
    Address(IpAddr),
    /// An unqualified name: an external host, a node, or else a DNS name.
    Name(String),
}

/// A port by number or by name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PortReference {
    /// 1 to 65535.
    Number(u16),
    /// The name of a Service's or a container's port.
    Name(String),
}

/// A target with an optional port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    /// The target.
    pub target: Target,
    /// The port.
    pub port: Option<PortReference>,
}

const FORMS: &str = "host/NAME, pod/[NAMESPACE/]NAME, node/NAME, service/[NAMESPACE/]NAME, an IP address or the bare \
                     name of an external host or a node, each with an optional :PORT";

impl Reference {
    /// Parses a reference.
    ///
    /// # Errors
    /// The problem; the caller adds the path.
    pub fn parse(text: &str) -> Result<Self, FieldFault> {
        if let Some((address, port)) = address_and_port(text)? {
            return Ok(Self { target: Target::Address(address), port });
        }
        let (name, port) = match text.rsplit_once(':') {
            Some((name, port)) => (name, Some(PortReference::parse(port)?)),
            None => (text, None),
        };
        Ok(Self { target: Target::parse_name(name)?, port })
    }
}

impl Target {
    /// Parses a reference without port.
    ///
    /// # Errors
    /// The problem; the caller adds the path.
    pub fn parse(text: &str) -> Result<Self, FieldFault> {
        let reference = Reference::parse(text)?;
        match reference.port {
            None => Ok(reference.target),
            Some(_) => {
                Err(FieldFault::new(format!("{text:?} has a port")).expected("the same without a port"))
            }
        }
    }

    fn parse_name(text: &str) -> Result<Self, FieldFault> {
        let parts: Vec<&str> = text.split('/').collect();
        if parts.iter().any(|part| !is_name(part)) {
            return Err(FieldFault::new(format!("{text:?} is not a valid reference")).expected(FORMS));
        }
        match parts[..] {
            [name] => Ok(Self::Name(name.to_owned())),
            ["host", name] => Ok(Self::Host(name.to_owned())),
            ["node", name] => Ok(Self::Node(name.to_owned())),
            ["pod", ref names @ ..] if names.len() <= 2 => Ok(Self::Pod(ObjectName::of(names))),
            ["service", ref names @ ..] if names.len() <= 2 => Ok(Self::Service(ObjectName::of(names))),
            _ => Err(FieldFault::new(format!("{text:?} is not a valid reference")).expected(FORMS)),
        }
    }
}

impl ObjectName {
    /// A name in a namespace.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }

    /// From `[name]` or `[namespace, name]`.
    pub(super) fn of(names: &[&str]) -> Self {
        match *names {
            [namespace, name] => Self::new(namespace, name),
            _ => Self::new("default", names.last().copied().unwrap_or_default()),
        }
    }
}

impl PortReference {
    fn parse(text: &str) -> Result<Self, FieldFault> {
        const EXPECTED: &str = "a port from 1 to 65535, or a port name";
        if text.is_empty() || text.bytes().any(|byte| !is_name_byte(byte)) {
            return Err(FieldFault::new(format!("invalid port {text:?}")).expected(EXPECTED));
        }
        if text.bytes().any(|byte| !byte.is_ascii_digit()) {
            return Ok(Self::Name(text.to_owned()));
        }
        match text.parse() {
            Ok(number @ 1..) => Ok(Self::Number(number)),
            Ok(0) | Err(_) => Err(FieldFault::new(format!("invalid port {text}")).expected(EXPECTED)),
        }
    }
}

/// Letters, digits, `-`, `_` and `.`: the characters of object and host names.
pub(super) fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_name_byte)
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')
}

/// `1.2.3.4`, `1.2.3.4:80`, `fd00::1`, `[fd00::1]`, `[fd00::1]:80`; `None` for anything else.
fn address_and_port(text: &str) -> Result<Option<(IpAddr, Option<PortReference>)>, FieldFault> {
    if let Ok(address) = text.parse() {
        return Ok(Some((address, None)));
    }
    let (address, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, "")) => (address, None),
        Some((address, rest)) => (address, rest.strip_prefix(':')),
        None => text.rsplit_once(':').map_or((text, None), |(address, port)| (address, Some(port))),
    };
    match (address.parse(), port) {
        (Ok(address), Some(port)) => Ok(Some((address, Some(PortReference::parse(port)?)))),
        (Ok(address), None) if text.ends_with(']') => Ok(Some((address, None))),
        (Ok(_), None) | (Err(_), _) => Ok(None),
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace != "default" {
            write!(formatter, "{}/", self.namespace)?;
        }
        formatter.write_str(&self.name)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(name) => write!(formatter, "host/{name}"),
            Self::Pod(name) => write!(formatter, "pod/{name}"),
            Self::Node(name) => write!(formatter, "node/{name}"),
            Self::Service(name) => write!(formatter, "service/{name}"),
            Self::Address(address) => write!(formatter, "{address}"),
            Self::Name(name) => formatter.write_str(name),
        }
    }
}

impl fmt::Display for PortReference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(formatter, "{number}"),
            Self::Name(name) => formatter.write_str(name),
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.target, &self.port) {
            (target, None) => write!(formatter, "{target}"),
            (Target::Address(IpAddr::V6(address)), Some(port)) => write!(formatter, "[{address}]:{port}"),
            (target, Some(port)) => write!(formatter, "{target}:{port}"),
        }
    }
}
