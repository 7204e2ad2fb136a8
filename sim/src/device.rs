//! Network devices of one netns.

use crate::wire::MacAddr;
use ipnet::Ipv4Net;
use std::net::Ipv4Addr;

/// Index of a device within its netns, counted from 1 as the kernel's `ifindex`; 1 is `lo`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceId(pub u16);

impl DeviceId {
    /// The loopback device, which every netns has.
    pub const LOOPBACK: Self = Self(1);
}

/// Index of a netns within its world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NetnsId(pub u32);

/// What a device is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceKind {
    /// `lo`: what it sends it receives.
    Loopback,
    /// One end of a veth pair; the other end may be in another netns.
    Veth {
        /// Netns of the other end.
        peer_netns: NetnsId,
        /// The other end.
        peer: DeviceId,
    },
    /// A bridge; its ports are the devices that name it as their master.
    Bridge,
    /// Holds addresses, sends nowhere.
    Dummy,
}

/// Scope of an address (`ifa_scope`); only the order matters (include/uapi/linux/rtnetlink.h).
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
    /// Address and prefix length; host bits are kept.
    pub net: Ipv4Net,
    /// Scope.
    pub scope: Scope,
    /// A later address of a subnet that the device already has (`IFA_F_SECONDARY`).
    pub is_secondary: bool,
}

/// A network device (`struct net_device` and its `struct in_device`).
#[derive(Clone, Debug)]
pub struct Device {
    /// Its index.
    pub id: DeviceId,
    /// Name, at most 15 bytes.
    pub name: Box<str>,
    /// Hardware address.
    pub mac: MacAddr,
    /// Largest IP packet in bytes, Ethernet header excluded.
    pub mtu: u16,
    /// What it is.
    pub kind: DeviceKind,
    /// Administratively up (`IFF_UP`).
    pub is_up: bool,
    /// Takes frames for any MAC (`IFF_PROMISC`).
    pub is_promiscuous: bool,
    /// The bridge of which this device is a port.
    pub master: Option<DeviceId>,
    /// Bridge port flag `hairpin_mode` (`BR_HAIRPIN_MODE`).
    pub is_hairpin: bool,
    /// IPv4 addresses in the kernel's order: as added, secondaries after their primary.
    pub addrs: Vec<InterfaceAddr>,
}

/// The devices of a netns, by index and name.
#[derive(Clone, Debug, Default)]
pub struct Devices(Vec<Device>);

impl Devices {
    /// Adds a device under the next free index. The caller has checked that the name is free.
    pub fn add(&mut self, name: &str, mac: MacAddr, mtu: u16, kind: DeviceKind) -> DeviceId {
        assert!(self.by_name(name).is_none(), "device name {name} is taken");
        let id = DeviceId(u16::try_from(self.0.len() + 1).expect("fewer than 65,535 devices in a netns"));
        self.0.push(Device {
            id,
            name: name.into(),
            mac,
            mtu,
            kind,
            is_up: true,
            is_promiscuous: false,
            master: None,
            is_hairpin: false,
            addrs: Vec::new(),
        });
        id
    }

    /// The device with that index. Indexes are handed out by [`Devices::add`] alone and never withdrawn.
    pub fn get(&self, id: DeviceId) -> &Device {
        &self.0[usize::from(id.0) - 1]
    }

    /// As [`Devices::get`], to change it.
    pub fn get_mut(&mut self, id: DeviceId) -> &mut Device {
        &mut self.0[usize::from(id.0) - 1]
    }

    /// The device of that name, if there is one.
    pub fn by_name(&self, name: &str) -> Option<&Device> {
        self.0.iter().find(|device| &*device.name == name)
    }

    /// All devices in the order of their indexes.
    pub fn iter(&self) -> impl Iterator<Item = &Device> {
        self.0.iter()
    }

    /// The device that holds this address, if one does.
    pub fn owner_of(&self, addr: Ipv4Addr) -> Option<&Device> {
        self.0.iter().find(|device| device.addrs.iter().any(|held| held.net.addr() == addr))
    }
}
