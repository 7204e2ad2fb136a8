//! What netns and devices are called. The event stream carries indexes only.

use conformance::result::NetnsNames;
use sim::device::{DeviceId, NetnsId};
use std::borrow::Cow;

/// The names of a world, in the order of its netns.
#[derive(Clone, Copy, Debug)]
pub struct Names<'a>(pub &'a [NetnsNames]);

impl<'a> Names<'a> {
    /// The name of a netns; `netns 7` for one that has none.
    pub fn netns(self, id: NetnsId) -> Cow<'a, str> {
        self.entry(id).map_or_else(|| format!("netns {}", id.0).into(), |entry| entry.name.as_str().into())
    }

    /// The name of a device; `if3` for one that has none, as the kernel prints an index without a name.
    pub fn device(self, netns: NetnsId, id: DeviceId) -> Cow<'a, str> {
        let index = usize::from(id.0).checked_sub(1);
        let name = self.entry(netns).and_then(|entry| entry.devices.get(index?));
        name.map_or_else(|| format!("if{}", id.0).into(), |name| name.as_str().into())
    }

    fn entry(self, id: NetnsId) -> Option<&'a NetnsNames> {
        self.0.get(usize::try_from(id.0).ok()?)
    }
}
