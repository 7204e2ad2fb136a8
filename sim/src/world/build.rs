//! Building netns, devices and links, and changing them later.

use super::{World, index};
use crate::context::Context;
use crate::device::{AddrError, DeviceKind, Scope};
use crate::fib::{FibError, Route, TableId, add_address, on_device_down, on_device_up, remove_address};
use crate::ids::{DeviceId, NetnsId};
use crate::link::Link;
use crate::netns::Netns;
use crate::sysctl::SysctlError;
use crate::wire::MacAddr;
use ipnet::Ipv4Net;
use std::net::Ipv4Addr;
use std::sync::Arc;
use thiserror::Error;

/// IP MTU of devices that are made here, as Linux gives a new veth or bridge (`ETH_DATA_LEN`).
const MTU: u16 = 1500;
/// No device has a smaller IP MTU (`ETH_MIN_MTU`, include/uapi/linux/if_ether.h). Linux lets the loopback have one.
const MTU_MIN: u16 = 68;
/// IP MTU of the loopback (drivers/net/loopback.c).
const LOOPBACK_MTU: u16 = 65_535;

/// Why a world could not be built as asked.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BuildError {
    /// Device names are unique within a netns.
    #[error("netns {netns} has a device {device} already")]
    DeviceExists {
        /// Name of the netns.
        netns: Box<str>,
        /// Name of the device.
        device: Box<str>,
    },
    /// No such device.
    #[error("netns {netns} has no device {device}")]
    NoSuchDevice {
        /// Name of the netns.
        netns: Box<str>,
        /// Name of the device.
        device: Box<str>,
    },
    /// An MTU that no device can have (`EINVAL`).
    #[error("netns {netns}: an MTU of {mtu} for {device}, where 68 is the least; give it a larger one")]
    MtuTooSmall {
        /// Name of the netns.
        netns: Box<str>,
        /// Name of the device.
        device: Box<str>,
        /// The MTU, in bytes of IP.
        mtu: u16,
    },
    /// The device refused an address.
    #[error("netns {netns}: {addr} on {device}: {source}")]
    Address {
        /// Name of the netns.
        netns: Box<str>,
        /// Name of the device.
        device: Box<str>,
        /// The address.
        addr: Ipv4Net,
        /// Why.
        source: AddrError,
    },
    /// The routing table refused a route.
    #[error("netns {netns}: {source}")]
    Route {
        /// Name of the netns.
        netns: Box<str>,
        /// Why.
        source: FibError,
    },
    /// A setting was refused.
    #[error("netns {netns}: {source}")]
    Sysctl {
        /// Name of the netns.
        netns: Box<str>,
        /// Why.
        source: SysctlError,
    },
}

/// One end of a veth pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VethEnd<'a> {
    /// The netns that has it.
    pub netns: NetnsId,
    /// Its name there.
    pub name: &'a str,
    /// Its hardware address.
    pub mac: MacAddr,
}

impl World {
    /// A new netns: its loopback is up and has 127.0.0.1/8, its settings are Linux's defaults.
    pub fn add_netns(&mut self, name: &str) -> NetnsId {
        let id = NetnsId(u32::try_from(self.netns.len()).expect("fewer than 2^32 netns"));
        self.netns.push(Arc::new(Netns::new(id, name)));
        if let Some(wheel) = self.timer_wheel {
            self.netns_mut(id).icmp_limit.set_wheel(wheel);
        }
        let lo = self.netns_mut(id).devices.add("lo", MacAddr::ZERO, LOOPBACK_MTU, DeviceKind::Loopback);
        let loopback = Ipv4Net::new_assert(Ipv4Addr::LOCALHOST, 8);
        self.add_address(id, lo, loopback).expect("a new loopback has no address");
        id
    }

    /// A bridge without ports.
    pub fn add_bridge(&mut self, netns: NetnsId, name: &str, mac: MacAddr) -> Result<DeviceId, BuildError> {
        self.add_device(netns, name, mac, DeviceKind::Bridge)
    }

    /// A device that holds addresses and sends nowhere.
    pub fn add_dummy(&mut self, netns: NetnsId, name: &str, mac: MacAddr) -> Result<DeviceId, BuildError> {
        self.add_device(netns, name, mac, DeviceKind::Dummy)
    }

    /// A veth pair with a link between its ends, the same in both directions.
    pub fn add_veth(
        &mut self,
        a: VethEnd,
        b: VethEnd,
        link: Link,
    ) -> Result<(DeviceId, DeviceId), BuildError> {
        let placeholder = DeviceKind::Veth { peer_netns: b.netns, peer: DeviceId::LOOPBACK };
        let a_id = self.add_device(a.netns, a.name, a.mac, placeholder)?;
        let b_id =
            self.add_device(b.netns, b.name, b.mac, DeviceKind::Veth { peer_netns: a.netns, peer: a_id })?;
        self.netns_mut(a.netns).devices.get_mut(a_id).kind =
            DeviceKind::Veth { peer_netns: b.netns, peer: b_id };
        let links = Arc::make_mut(&mut self.links);
        links.insert((a.netns, a_id), link);
        links.insert((b.netns, b_id), link);
        Ok((a_id, b_id))
    }

    fn add_device(
        &mut self,
        netns: NetnsId,
        name: &str,
        mac: MacAddr,
        kind: DeviceKind,
    ) -> Result<DeviceId, BuildError> {
        let ns = self.netns_mut(netns);
        if ns.devices.by_name(name).is_some() {
            return Err(BuildError::DeviceExists { netns: ns.name.clone(), device: name.into() });
        }
        Ok(ns.devices.add(name, mac, MTU, kind))
    }

    /// The device of that name.
    pub fn device(&self, netns: NetnsId, name: &str) -> Result<DeviceId, BuildError> {
        let ns = self.netns(netns);
        ns.devices
            .by_name(name)
            .map(|device| device.id)
            .ok_or_else(|| BuildError::NoSuchDevice { netns: ns.name.clone(), device: name.into() })
    }

    /// Makes a device a port of a bridge, or frees it (`ip link set DEV master BRIDGE`).
    pub fn set_master(&mut self, netns: NetnsId, port: DeviceId, bridge: Option<DeviceId>) {
        self.with_netns(netns, |ns, cx| {
            let left = ns.devices.set_master(port, bridge);
            ns.fdb.flush_port(port);
            for bridge in [left, bridge].into_iter().flatten() {
                ns.br_mtu_auto_adjust(bridge);
                neigh_carrier_down(ns, cx, bridge);
            }
        });
    }

    /// Hairpin mode of a bridge port (`bridge link set dev DEV hairpin on`).
    pub fn set_hairpin(&mut self, netns: NetnsId, port: DeviceId, is_on: bool) {
        self.netns_mut(netns).devices.get_mut(port).is_hairpin = is_on;
    }

    /// Promiscuous mode (`ip link set DEV promisc on`).
    pub fn set_promiscuous(&mut self, netns: NetnsId, device: DeviceId, is_on: bool) {
        self.netns_mut(netns).devices.get_mut(device).is_promiscuous = is_on;
    }

    /// Largest IP packet of a device, in bytes. A bridge follows the smallest of its ports, until its own is set.
    ///
    /// # Errors
    /// Less than 68 (`dev_validate_mtu`, net/core/dev.c).
    pub fn set_mtu(&mut self, netns: NetnsId, device: DeviceId, mtu: u16) -> Result<(), BuildError> {
        let ns = self.netns_mut(netns);
        let changed = ns.devices.get_mut(device);
        if mtu < MTU_MIN {
            let device = changed.name.clone();
            return Err(BuildError::MtuTooSmall { netns: ns.name.clone(), device, mtu });
        }
        (changed.mtu, changed.is_mtu_fixed) = (mtu, true);
        if let Some(bridge) = changed.master {
            ns.br_mtu_auto_adjust(bridge);
        }
        Ok(())
    }

    /// Up or down. A device that goes down takes its neighbours, masqueraded flows and learned MACs with it.
    pub fn set_up(&mut self, netns: NetnsId, device: DeviceId, is_up: bool) {
        self.with_netns(netns, |ns, cx| {
            ns.devices.get_mut(device).is_up = is_up;
            if is_up {
                on_device_up(&mut ns.fib, ns.devices.get(device));
            } else {
                on_device_down(&mut ns.fib, device);
                ns.neigh.on_device_down(cx, device);
                ns.fdb.flush_port(device);
                ns.conntrack.flush_masquerade_of_device(cx.now, device, None);
                if let Some(bridge) = ns.devices.get(device).master {
                    neigh_carrier_down(ns, cx, bridge);
                }
            }
        });
    }

    /// An address, with the routes that Linux adds for it (`ip addr add`).
    pub fn add_address(&mut self, netns: NetnsId, device: DeviceId, addr: Ipv4Net) -> Result<(), BuildError> {
        let ns = self.netns_mut(netns);
        let scope = if addr.addr().is_loopback() { Scope::Host } else { Scope::Universe };
        match add_address(&mut ns.devices, &mut ns.fib, device, addr, scope) {
            Ok(_) => Ok(()),
            Err(source) => {
                let device = ns.devices.get(device).name.clone();
                Err(BuildError::Address { netns: ns.name.clone(), device, addr, source })
            }
        }
    }

    /// Takes an address away, with its routes and with the flows that were masqueraded behind it (`ip addr del`).
    pub fn remove_address(
        &mut self,
        netns: NetnsId,
        device: DeviceId,
        addr: Ipv4Net,
    ) -> Result<(), BuildError> {
        let now = self.now();
        let ns = self.netns_mut(netns);
        let before = ns.devices.get(device).addrs.clone();
        if let Err(source) = remove_address(&mut ns.devices, &mut ns.fib, &ns.sysctls, device, addr) {
            let device = ns.devices.get(device).name.clone();
            return Err(BuildError::Address { netns: ns.name.clone(), device, addr, source });
        }
        // Secondaries may have gone with their primary.
        let left = &ns.devices.get(device).addrs;
        for gone in before.iter().filter(|held| left.iter().all(|other| other.net != held.net)) {
            ns.conntrack.flush_masquerade_of_device(now, device, Some(gone.net.addr().into()));
        }
        Ok(())
    }

    /// A neighbour that is not asked for (`ip neigh replace ADDR lladdr MAC dev DEV nud permanent`).
    pub fn add_neighbour(&mut self, netns: NetnsId, device: DeviceId, addr: Ipv4Addr, mac: MacAddr) {
        self.with_netns(netns, |ns, cx| ns.neigh.add_permanent(cx, &ns.devices, device, addr, mac));
    }

    /// Forgets a neighbour (`ip neigh del`). True if it was known.
    pub fn remove_neighbour(&mut self, netns: NetnsId, device: DeviceId, addr: Ipv4Addr) -> bool {
        self.with_netns(netns, |ns, cx| ns.neigh.remove(cx, device, addr))
    }

    /// A route of the main table (`ip route add`).
    pub fn add_route(&mut self, netns: NetnsId, route: Route) -> Result<(), BuildError> {
        let ns = self.netns_mut(netns);
        ns.fib
            .add(&ns.devices, TableId::Main, route)
            .map_err(|source| BuildError::Route { netns: ns.name.clone(), source })
    }

    /// A setting by its name, as `sysctl -w` takes it.
    pub fn set_sysctl(&mut self, netns: NetnsId, name: &str, value: &str) -> Result<(), BuildError> {
        let ns = self.netns_mut(netns);
        ns.sysctls
            .set(&ns.devices, name, value)
            .map_err(|source| BuildError::Sysctl { netns: ns.name.clone(), source })
    }

    /// The link by which a veth sends.
    ///
    /// # Panics
    /// If the device is no veth.
    pub fn link_mut(&mut self, netns: NetnsId, device: DeviceId) -> &mut Link {
        Arc::make_mut(&mut self.links).get_mut(&(netns, device)).expect("every veth has a link")
    }

    /// Names of netns and device, for reports.
    pub fn device_name(&self, netns: NetnsId, device: DeviceId) -> &str {
        &self.netns[index(netns)].devices.get(device).name
    }
}

/// A bridge forgets its neighbours when its last live port goes (`neigh_carrier_down`, net/core/neighbour.c).
fn neigh_carrier_down(ns: &mut Netns, cx: &mut Context<'_>, bridge: DeviceId) {
    if !ns.devices.has_live_port(bridge) {
        ns.neigh.on_device_down(cx, bridge);
    }
}
