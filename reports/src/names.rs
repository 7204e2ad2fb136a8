//! What netns and devices are called. The event stream carries indexes only.

use sim::device::{DeviceId, NetnsId};
use std::borrow::Cow;

/// The names of one netns and of its devices.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetnsNames {
    /// The netns: a node, a pod or an external host.
    pub name: String,
    /// Its devices in the order of their indexes, which count from 1.
    pub devices: Vec<String>,
}

/// The names of a world, in the order of its netns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names(Vec<NetnsNames>);

impl Names {
    /// The name of a netns; `netns 7` for one that has none.
    pub fn netns(&self, id: NetnsId) -> Cow<'_, str> {
        self.entry(id).map_or_else(|| format!("netns {}", id.0).into(), |entry| entry.name.as_str().into())
    }

    /// The name of a device; `if3` for one that has none, as the kernel prints an index without a name.
    pub fn device(&self, netns: NetnsId, id: DeviceId) -> Cow<'_, str> {
        let index = usize::from(id.0).checked_sub(1);
        let name = self.entry(netns).and_then(|entry| entry.devices.get(index?));
        name.map_or_else(|| format!("if{}", id.0).into(), |name| name.as_str().into())
    }

    fn entry(&self, id: NetnsId) -> Option<&NetnsNames> {
        self.0.get(usize::try_from(id.0).ok()?)
    }
}

impl FromIterator<NetnsNames> for Names {
    fn from_iter<I: IntoIterator<Item = NetnsNames>>(entries: I) -> Self {
        Self(entries.into_iter().collect())
    }
}
