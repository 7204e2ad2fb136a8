//! Names of network namespaces.

use std::fmt;

use crate::scenario::ObjectName;

/// The reserved name of the switch that connects nodes and external hosts.
pub const SWITCH: &str = "switch";

/// The owner of a network namespace.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NetnsName {
    /// The switch that connects nodes and external hosts. It filters nothing.
    Switch,
    /// An external host.
    Host(String),
    /// A node.
    Node(String),
    /// A Pod.
    Pod(ObjectName),
}

impl NetnsName {
    /// The name of a node, if it is one.
    pub(crate) fn node(&self) -> Option<&str> {
        match self {
            Self::Node(name) => Some(name),
            Self::Switch | Self::Host(_) | Self::Pod(_) => None,
        }
    }
}

impl fmt::Display for NetnsName {
    /// The name in reports: hosts and nodes by name, Pods as references. Names are unique within a cluster: hosts and
    /// nodes have different names, none is that of the switch, and none contains a slash.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Switch => formatter.write_str(SWITCH),
            Self::Host(name) | Self::Node(name) => formatter.write_str(name),
            Self::Pod(name) => write!(formatter, "pod/{name}"),
        }
    }
}
