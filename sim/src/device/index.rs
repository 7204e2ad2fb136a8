//! Indexes over all devices of a netns for the packet path.

use super::Devices;
use crate::ids::DeviceId;
use crate::wire::MacAddr;
use rustc_hash::{FxHashMap, FxHashSet};
use std::net::Ipv4Addr;

/// Indexes over the devices of a netns; built on first use, dropped when a device changes.
#[derive(Clone, Debug, Default)]
pub(super) struct DeviceIndex {
    /// The first device with each address.
    owners: FxHashMap<u32, DeviceId>,
    /// Hardware addresses of bridges and their ports, by bridge.
    local_macs: FxHashSet<u64>,
}

impl DeviceIndex {
    pub(super) fn new(devices: &Devices) -> Self {
        let mut index = Self::default();
        for device in devices.iter() {
            for held in &device.addrs {
                index.owners.entry(held.net.addr().to_bits()).or_insert(device.id);
            }
            // Keys of devices that are not bridges are never looked up.
            index.local_macs.insert(mac_key(device.id, device.mac));
            if let Some(bridge) = device.master {
                index.local_macs.insert(mac_key(bridge, device.mac));
            }
        }
        index
    }

    pub(super) fn owner_of(&self, addr: Ipv4Addr) -> Option<DeviceId> {
        self.owners.get(&addr.to_bits()).copied()
    }

    pub(super) fn is_local_mac(&self, bridge: DeviceId, mac: MacAddr) -> bool {
        self.local_macs.contains(&mac_key(bridge, mac))
    }
}

/// A bridge and a hardware address as one number, which hashes faster.
pub(crate) const fn mac_key(bridge: DeviceId, mac: MacAddr) -> u64 {
    let [a, b, c, d, e, f] = mac.0;
    let [high, low] = bridge.0.to_be_bytes();
    u64::from_be_bytes([high, low, a, b, c, d, e, f])
}
