//! The forwarding database of bridges (net/bridge/br_fdb.c).

use crate::device::{Devices, mac_key};
use crate::ids::DeviceId;
use crate::time::{Duration, Instant};
use crate::wire::MacAddr;
use rustc_hash::FxHashMap;

/// How long a learned address is kept without being refreshed (`BR_DEFAULT_AGEING_TIME`,
/// include/uapi/linux/if_bridge.h).
const AGEING_TIME: Duration = Duration::from_secs(300);

/// The location of a MAC address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FdbEntry {
    /// The address of the bridge or of one of its ports: frames are passed up to the netns.
    Local,
    /// Reachable through this port.
    Port(DeviceId),
}

/// Learned addresses of all bridges of a netns.
#[derive(Clone, Debug, Default)]
pub struct Fdb {
    /// By bridge and address ([`mac_key`]): the port, and when it was last seen. Never iterated in order.
    learned: FxHashMap<u64, (DeviceId, Instant)>,
}

impl Fdb {
    /// Learns that `mac` is behind `port` (`br_fdb_update`). Returns true if the entry is new or changed.
    pub fn learn(&mut self, bridge: DeviceId, mac: MacAddr, port: DeviceId, now: Instant) -> bool {
        let before = self.learned.insert(mac_key(bridge, mac), (port, now));
        before.is_none_or(|(known_port, seen)| known_port != port || now - seen >= AGEING_TIME)
    }

    /// The location of `mac` (`br_fdb_find_rcu`). Local addresses take precedence over learned ones, because the kernel
    /// refuses to learn them.
    pub fn find(&self, devices: &Devices, bridge: DeviceId, mac: MacAddr, now: Instant) -> Option<FdbEntry> {
        if devices.is_local_mac(bridge, mac) {
            return Some(FdbEntry::Local);
        }
        self.learned
            .get(&mac_key(bridge, mac))
            .filter(|(_, seen)| now - *seen < AGEING_TIME)
            .map(|(port, _)| FdbEntry::Port(*port))
    }

    /// Deletes entries learned on a port that is removed or goes down (`br_fdb_delete_by_port`).
    pub fn flush_port(&mut self, port: DeviceId) {
        self.learned.retain(|_, (learned_on, _)| *learned_on != port);
    }
}
