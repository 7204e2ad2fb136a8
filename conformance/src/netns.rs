//! Names of network namespaces: whose they are.

use std::fmt;

use crate::scenario::ObjectName;

/// What the switch is called to which nodes and external hosts are attached. None of them can be called so.
pub(crate) const SWITCH: &str = "switch";

/// Whose network namespace it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NetnsName {
    /// The switch to which nodes and external hosts are attached. Nothing is filtered there.
    Switch,
    /// An external host.
    Host(String),
    /// A node.
    Node(String),
    /// A Pod.
    Pod(ObjectName),
}

impl fmt::Display for NetnsName {
    /// As reports call it: nodes and hosts by their name, Pods as references. No two of a cluster are called the same: the
    /// names of hosts and nodes differ, are not that of the switch, and have no slash.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Switch => formatter.write_str(SWITCH),
            Self::Host(name) | Self::Node(name) => formatter.write_str(name),
            Self::Pod(name) => write!(formatter, "pod/{name}"),
        }
    }
}
