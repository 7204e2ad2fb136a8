//! Network devices of one netns.

mod index;

use crate::ids::{DeviceId, NetnsId};
use crate::wire::MacAddr;
use index::DeviceIndex;
pub(crate) use index::mac_key;
use ipnet::Ipv4Net;
use rustc_hash::FxHashMap;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::OnceLock;

/// The kind of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceKind {
    /// `lo`: receives what it sends.
    Loopback,
    /// One end of a veth pair; the other end may be in another netns.
    Veth {
        /// Netns of the other end.
        peer_netns: NetnsId,
        /// The other end.
        peer: DeviceId,
    },
    /// A bridge; its ports are the devices with it as their master.
    Bridge,
    /// Has addresses, drops everything it sends.
    Dummy,
}

/// Scope of an address (`ifa_scope`), in order (include/uapi/linux/rtnetlink.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// `RT_SCOPE_UNIVERSE`: valid everywhere.
    Universe,
    /// `RT_SCOPE_LINK`: valid on this link.
    Link,
    /// `RT_SCOPE_HOST`: valid in this netns.
    Host,
}

/// An IPv4 address of a device (`struct in_ifaddr`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InterfaceAddr {
    /// Address and prefix length; host bits are preserved.
    pub net: Ipv4Net,
    /// Scope.
    pub scope: Scope,
    /// An additional address in a subnet that the device already has (`IFA_F_SECONDARY`).
    pub is_secondary: bool,
}

/// A network device (`struct net_device` and its `struct in_device`).
#[derive(Clone, Debug)]
pub struct Device {
    /// Its index.
    pub id: DeviceId,
    /// Name, at most 15 bytes.
    pub name: Box<str>,
    /// MAC address.
    pub mac: MacAddr,
    /// MTU in bytes, without Ethernet header.
    pub mtu: u16,
    /// The MTU of this bridge was set explicitly and no longer follows its ports (`BROPT_MTU_SET_BY_USER`).
    pub is_mtu_fixed: bool,
    /// The kind.
    pub kind: DeviceKind,
    /// Administratively up (`IFF_UP`).
    pub is_up: bool,
    /// The other end of the link is up (`netif_carrier_ok`). A bridge has its carrier from its ports instead; see
    /// [`Devices::has_live_port`].
    pub has_carrier: bool,
    /// Promiscuous mode (`IFF_PROMISC`).
    pub is_promiscuous: bool,
    /// The bridge of which this device is a port.
    pub master: Option<DeviceId>,
    /// Bridge port flag `hairpin_mode` (`BR_HAIRPIN_MODE`).
    pub is_hairpin: bool,
    /// IPv4 addresses in the kernel's order; see [`Device::insert_addr`].
    pub addrs: Vec<InterfaceAddr>,
    /// True once it has had an address. From then on it no longer follows sysctl defaults (`ipv4_devconf_setall`).
    pub had_addr: bool,
}

/// An address could not be added or removed; the messages are those of `ip address`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddrError {
    /// The device already has this address (`EEXIST`).
    #[error("ipv4: Address already assigned.")]
    Exists,
    /// Another address in the same subnet has a different scope (`EINVAL`).
    #[error("ipv4: Invalid scope value.")]
    InvalidScope,
    /// The device does not have this address (`EADDRNOTAVAIL`).
    #[error("ipv4: Address not found.")]
    NotFound,
}

impl InterfaceAddr {
    /// True if `addr` is in the subnet of this address (`inet_ifa_match`).
    pub fn covers(&self, addr: Ipv4Addr) -> bool {
        self.net.contains(&addr)
    }

    /// True if both are in the same subnet.
    pub fn shares_subnet(&self, other: &Self) -> bool {
        self.net.trunc() == other.net.trunc()
    }
}

impl Device {
    /// Inserts an address into the list, and returns it as inserted. Does not change routes; see
    /// [`crate::fib::add_address`].
    ///
    /// # Errors
    /// [`AddrError::Exists`] and [`AddrError::InvalidScope`].
    // Linux: __inet_insert_ifa, net/ipv4/devinet.c. A primary is inserted after the last primary of the same or a
    // narrower scope, a secondary at the end.
    pub fn insert_addr(&mut self, net: Ipv4Net, scope: Scope) -> Result<InterfaceAddr, AddrError> {
        self.had_addr = true;
        let mut added = InterfaceAddr { net, scope, is_secondary: false };
        let mut behind_primaries = 0;
        for (index, held) in self.addrs.iter().enumerate() {
            if !held.is_secondary && scope <= held.scope {
                behind_primaries = index + 1;
            }
            if held.shares_subnet(&added) {
                if held.net.addr() == net.addr() {
                    return Err(AddrError::Exists);
                }
                if held.scope != scope {
                    return Err(AddrError::InvalidScope);
                }
                added.is_secondary = true;
            }
        }
        let at = if added.is_secondary { self.addrs.len() } else { behind_primaries };
        self.addrs.insert(at, added);
        Ok(added)
    }

    /// The primary address of the subnet of `addr`, possibly itself (`inet_ifa_byprefix`).
    pub fn primary_of(&self, addr: &InterfaceAddr) -> Option<&InterfaceAddr> {
        self.addrs.iter().find(|held| held.shares_subnet(addr))
    }

    /// True if `a`, and `b` if given, are in the same subnet of this device (`inet_addr_onlink`, net/ipv4/devinet.c).
    pub fn is_on_link(&self, a: Ipv4Addr, b: Option<Ipv4Addr>) -> bool {
        self.addrs.iter().any(|held| held.covers(a) && b.is_none_or(|b| held.covers(b)))
    }

    /// True if it can send and receive (`IFF_RUNNING`): it is up, and so is the other end of its link.
    pub const fn is_running(&self) -> bool {
        self.is_up && self.has_carrier
    }

    /// True for the loopback device (`IFF_LOOPBACK`).
    pub const fn is_loopback(&self) -> bool {
        matches!(self.kind, DeviceKind::Loopback)
    }

    /// True if it uses ARP: neither `IFF_NOARP` nor `IFF_LOOPBACK`.
    // Linux: dummy_setup sets IFF_NOARP, drivers/net/dummy.c.
    pub const fn has_arp(&self) -> bool {
        match self.kind {
            DeviceKind::Loopback | DeviceKind::Dummy => false,
            DeviceKind::Veth { .. } | DeviceKind::Bridge => true,
        }
    }
}

/// The devices of a netns, by index and name.
#[derive(Clone, Debug, Default)]
pub struct Devices {
    all: Vec<Device>,
    /// Only for lookup; never iterated.
    by_name: FxHashMap<Box<str>, DeviceId>,
    /// Bridge ports, in the order in which they were added.
    ports: BTreeMap<DeviceId, Vec<DeviceId>>,
    index: OnceLock<DeviceIndex>,
    /// Number of additions and changes of devices.
    generation: u64,
}

impl Devices {
    /// Adds a device with the next free index. The caller ensures that the name is unused.
    pub fn add(&mut self, name: &str, mac: MacAddr, mtu: u16, kind: DeviceKind) -> DeviceId {
        assert!(self.by_name(name).is_none(), "device name {name} is in use");
        let id = DeviceId(u16::try_from(self.all.len() + 1).expect("fewer than 65,535 devices in a netns"));
        self.changed();
        self.by_name.insert(name.into(), id);
        self.all.push(Device {
            id,
            name: name.into(),
            mac,
            mtu,
            is_mtu_fixed: false,
            kind,
            is_up: true,
            has_carrier: true,
            is_promiscuous: false,
            master: None,
            is_hairpin: false,
            addrs: Vec::new(),
            had_addr: false,
        });
        id
    }

    /// The device with that index. Indexes come from [`Devices::add`] and stay valid.
    pub fn get(&self, id: DeviceId) -> &Device {
        &self.all[usize::from(id.0) - 1]
    }

    /// Mutable version of [`Devices::get`]. Use `Devices::set_master` to change the master.
    pub fn get_mut(&mut self, id: DeviceId) -> &mut Device {
        self.changed();
        &mut self.all[usize::from(id.0) - 1]
    }

    /// Attaches a device to a bridge, or detaches it. Returns its previous bridge (`br_add_if`, `br_del_if`,
    /// net/bridge/br_if.c).
    pub(crate) fn set_master(&mut self, port: DeviceId, bridge: Option<DeviceId>) -> Option<DeviceId> {
        let left = std::mem::replace(&mut self.get_mut(port).master, bridge);
        if let Some(ports) = left.and_then(|left| self.ports.get_mut(&left)) {
            ports.retain(|joined| *joined != port);
        }
        if let Some(bridge) = bridge {
            self.ports.entry(bridge).or_default().push(port);
        }
        left
    }

    /// The ports of a bridge, in the order in which they were added.
    pub fn ports(&self, bridge: DeviceId) -> &[DeviceId] {
        self.ports.get(&bridge).map_or(&[], Vec::as_slice)
    }

    /// The device with that name, if it exists.
    pub fn by_name(&self, name: &str) -> Option<&Device> {
        self.by_name.get(name).map(|id| self.get(*id))
    }

    /// All devices in index order.
    pub fn iter(&self) -> impl Iterator<Item = &Device> {
        #[cfg(test)]
        visits::add(self.all.len());
        self.all.iter()
    }

    /// The first device that has this address, if any.
    pub fn owner_of(&self, addr: Ipv4Addr) -> Option<&Device> {
        self.index().owner_of(addr).map(|id| self.get(id))
    }

    /// True if a hardware address belongs to a bridge or to one of its ports.
    pub fn is_local_mac(&self, bridge: DeviceId, mac: MacAddr) -> bool {
        self.index().is_local_mac(bridge, mac)
    }

    /// True if a bridge has a port that is up and has a carrier. Otherwise the bridge has no carrier
    /// (`br_port_state_selection`, net/bridge/br_stp.c).
    pub fn has_live_port(&self, bridge: DeviceId) -> bool {
        self.ports(bridge).iter().any(|port| self.get(*port).is_running())
    }

    /// A number that changes whenever a device changes.
    pub(crate) const fn generation(&self) -> u64 {
        self.generation
    }

    fn changed(&mut self) {
        self.generation += 1;
        self.index.take();
    }

    fn index(&self) -> &DeviceIndex {
        self.index.get_or_init(|| DeviceIndex::new(self))
    }
}

/// Number of devices visited sequentially by this thread.
#[cfg(test)]
pub(crate) mod visits {
    use std::cell::Cell;

    thread_local!(static COUNT: Cell<usize> = const { Cell::new(0) });

    pub(super) fn add(devices: usize) {
        COUNT.set(COUNT.get() + devices);
    }

    pub(crate) fn count() -> usize {
        COUNT.get()
    }
}

#[cfg(test)]
mod tests;
