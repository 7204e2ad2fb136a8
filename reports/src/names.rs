//! Names of netns and devices. The event stream carries only indexes.

use conformance::result::NetnsNames;
use sim::ids::{DeviceId, NetnsId};
use std::borrow::Cow;

/// The names of all netns, indexed by netns id.
#[derive(Clone, Copy, Debug)]
pub struct Names<'a>(pub &'a [NetnsNames]);

impl<'a> Names<'a> {
    /// The name of a netns, or `netns 7` if it has none.
    pub fn netns(self, id: NetnsId) -> Cow<'a, str> {
        self.entry(id).map_or_else(|| format!("netns {}", id.0).into(), |entry| entry.name.as_str().into())
    }

    /// The name of a device, or `if3` if it has none, as the kernel prints an index without a name.
    pub fn device(self, netns: NetnsId, id: DeviceId) -> Cow<'a, str> {
        let index = usize::from(id.0).checked_sub(1);
        let name = self.entry(netns).and_then(|entry| entry.devices.get(index?));
        name.map_or_else(|| format!("if{}", id.0).into(), |name| name.as_str().into())
    }

    fn entry(self, id: NetnsId) -> Option<&'a NetnsNames> {
        self.0.get(usize::try_from(id.0).ok()?)
    }
}
