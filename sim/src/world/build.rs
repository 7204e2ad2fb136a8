//! Creates and changes netns, devices and links.

use super::{World, index};
use crate::context::Context;
use crate::device::{AddrError, DeviceKind, Scope};
use crate::fib::{
    FibError, Route, Selector, TableId, add_address, on_device_down, on_device_up, remove_address,
};
use crate::hook_table::BR_NETFILTER;
use crate::ids::{DeviceId, NetnsId};
use crate::ipvs;
use crate::link::Link;
use crate::netns::Netns;
use crate::sysctl::SysctlError;
use crate::wire::MacAddr;
use ipnet::Ipv4Net;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use thiserror::Error;

/// IP MTU of new devices, as of a new veth or bridge in Linux (`ETH_DATA_LEN`).
const MTU: u16 = 1500;
/// Smallest IP MTU of a device (`ETH_MIN_MTU`, include/uapi/linux/if_ether.h). Linux exempts the loopback.
const MTU_MIN: u16 = 68;
/// IP MTU of the loopback (drivers/net/loopback.c).
const LOOPBACK_MTU: u16 = 65_535;

/// Why a network could not be built.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BuildError {
    /// Device names are unique within a netns.
    #[error("netns {netns} already has a device {device}")]
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
    /// An invalid MTU (`EINVAL`).
    #[error("netns {netns}: invalid MTU {mtu} of {device}: the minimum is 68")]
    MtuTooSmall {
        /// Name of the netns.
        netns: Box<str>,
        /// Name of the device.
        device: Box<str>,
        /// The MTU, in bytes of IP.
        mtu: u16,
    },
    /// An invalid address of a device.
    #[error("netns {netns}: {addr} on {device}: {source}")]
    Address {
        /// Name of the netns.
        netns: Box<str>,
        /// Name of the device.
        device: Box<str>,
        /// The address.
        addr: Ipv4Net,
        /// The reason.
        source: AddrError,
    },
    /// An invalid route.
    #[error("netns {netns}: {source}")]
    Route {
        /// Name of the netns.
        netns: Box<str>,
        /// The reason.
        source: FibError,
    },
    /// An invalid setting.
    #[error("netns {netns}: {source}")]
    Sysctl {
        /// Name of the netns.
        netns: Box<str>,
        /// The reason.
        source: SysctlError,
    },
}

/// One end of a veth pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VethEnd<'a> {
    /// The netns.
    pub netns: NetnsId,
    /// The device name.
    pub name: &'a str,
    /// The hardware address.
    pub mac: MacAddr,
}

impl World {
    /// A new netns with Linux's default settings; its loopback is up with 127.0.0.1/8.
    pub fn add_netns(&mut self, name: &str) -> NetnsId {
        let id = NetnsId(u32::try_from(self.netns.len()).expect("fewer than 2^32 netns"));
        self.netns.push(Arc::new(Netns::new(id, name)));
        let call_duration = self.call_duration;
        self.netns_mut(id).sockets.set_call_duration(call_duration);
        if let Some(wheel) = self.timer_wheel {
            let ns = self.netns_mut(id);
            ns.icmp_limit.set_wheel(wheel);
            ns.timer_wheel = Some(wheel);
        }
        let (rmem_max, release) = (self.rmem_max, self.release);
        let sysctls = &mut self.netns_mut(id).sysctls;
        sysctls.set_rmem_max(rmem_max);
        sysctls.set_release(release);
        let lo = self.netns_mut(id).devices.add("lo", MacAddr::ZERO, LOOPBACK_MTU, DeviceKind::Loopback);
        let loopback = Ipv4Net::new_assert(Ipv4Addr::LOCALHOST, 8);
        self.add_address(id, lo, loopback).expect("a new loopback has no address");
        id
    }

    /// A bridge without ports.
    pub fn add_bridge(&mut self, netns: NetnsId, name: &str, mac: MacAddr) -> Result<DeviceId, BuildError> {
        self.add_device(netns, name, mac, DeviceKind::Bridge)
    }

    /// A device that has addresses and transmits nothing.
    pub fn add_dummy(&mut self, netns: NetnsId, name: &str, mac: MacAddr) -> Result<DeviceId, BuildError> {
        self.add_device(netns, name, mac, DeviceKind::Dummy)
    }

    /// A veth pair and the link between its ends, the same in both directions.
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
        if kind == DeviceKind::Bridge {
            // br_netfilter is loaded on every machine; its hooks come with the first bridge of a netns and stay
            // (`brnf_device_event`, net/bridge/br_netfilter_hooks.c).
            BR_NETFILTER.into_iter().for_each(|ops| ns.hooks.register(ops));
        }
        Ok(ns.devices.add(name, mac, MTU, kind))
    }

    /// Looks up a device by name.
    pub fn device(&self, netns: NetnsId, name: &str) -> Result<DeviceId, BuildError> {
        let ns = self.netns(netns);
        ns.devices
            .by_name(name)
            .map(|device| device.id)
            .ok_or_else(|| BuildError::NoSuchDevice { netns: ns.name.clone(), device: name.into() })
    }

    /// Attaches a device to a bridge, or detaches it (`ip link set DEV master BRIDGE`).
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

    /// The IP MTU of a device, in bytes. A bridge uses the smallest MTU of its ports until its own is set.
    ///
    /// # Errors
    /// An MTU below 68 (`dev_validate_mtu`, net/core/dev.c).
    pub fn set_mtu(&mut self, netns: NetnsId, device: DeviceId, mtu: u16) -> Result<(), BuildError> {
        let ns = self.netns_mut(netns);
        let changed = ns.devices.get_mut(device);
        if mtu < MTU_MIN {
            let device = changed.name.clone();
            return Err(BuildError::MtuTooSmall { netns: ns.name.clone(), device, mtu });
        }
        let before = std::mem::replace(&mut changed.mtu, mtu);
        changed.is_mtu_fixed = true;
        let bridge = changed.master;
        ns.fib.device_mtu_changed(device, before, mtu);
        if let Some(bridge) = bridge {
            ns.br_mtu_auto_adjust(bridge);
        }
        Ok(())
    }

    /// Sets a device up or down (`ip link set DEV up`). A device that goes down keeps its addresses and loses its routes,
    /// neighbours, masqueraded flows and learned MACs; of these, only the routes of addresses come back when it goes up.
    /// The other end of a veth pair loses its carrier, and with it neighbours and learned MACs, but no routes.
    pub fn set_up(&mut self, netns: NetnsId, device: DeviceId, is_up: bool) {
        self.with_netns(netns, |ns, cx| {
            ns.devices.get_mut(device).is_up = is_up;
            if is_up {
                on_device_up(&mut ns.fib, ns.devices.get(device));
            } else {
                on_device_down(&mut ns.fib, device);
                ns.neigh.on_device_down(cx, device);
                ns.conntrack.flush_masquerade_of_device(cx.now, device, None);
                port_stops(ns, cx, device);
            }
        });
        match self.netns(netns).devices.get(device).kind {
            DeviceKind::Veth { peer_netns, peer } => self.set_carrier(peer_netns, peer, is_up),
            DeviceKind::Loopback | DeviceKind::Bridge | DeviceKind::Dummy => {}
        }
    }

    /// The other end of a veth goes up or down (`veth_open`, `veth_close`, drivers/net/veth.c). Routes stay in use
    /// (`fib_netdev_event`, net/ipv4/fib_frontend.c; `ignore_routes_with_linkdown` is not modelled).
    fn set_carrier(&mut self, netns: NetnsId, device: DeviceId, has_carrier: bool) {
        self.with_netns(netns, |ns, cx| {
            ns.devices.get_mut(device).has_carrier = has_carrier;
            if !has_carrier {
                ns.neigh.on_carrier_down(cx, device);
                port_stops(ns, cx, device);
            }
        });
    }

    /// Adds an address with the routes that Linux adds for it (`ip addr add`).
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

    /// Removes an address with its routes and the flows masqueraded with it (`ip addr del`).
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
        // Secondary addresses may be gone with their primary.
        let left = &ns.devices.get(device).addrs;
        for gone in before.iter().filter(|held| left.iter().all(|other| other.net != held.net)) {
            ns.conntrack.flush_masquerade_of_device(now, device, Some(gone.net.addr().into()));
        }
        Ok(())
    }

    /// Adds a permanent neighbour (`ip neigh replace ADDR lladdr MAC dev DEV nud permanent`).
    pub fn add_neighbour(&mut self, netns: NetnsId, device: DeviceId, addr: IpAddr, mac: MacAddr) {
        self.with_netns(netns, |ns, cx| ns.neigh.add_permanent(cx, &ns.devices, device, addr, mac));
    }

    /// Removes a neighbour (`ip neigh del`). Returns true if there was one.
    pub fn remove_neighbour(&mut self, netns: NetnsId, device: DeviceId, addr: IpAddr) -> bool {
        self.with_netns(netns, |ns, cx| ns.neigh.remove(cx, device, addr))
    }

    /// Adds a route to the main table (`ip route add`).
    pub fn add_route(&mut self, netns: NetnsId, route: Route) -> Result<(), BuildError> {
        let ns = self.netns_mut(netns);
        ns.fib
            .add(&ns.devices, TableId::Main, route)
            .map_err(|source| BuildError::Route { netns: ns.name.clone(), source })
    }

    /// Removes the first route to `dst` in the main table that matches `selector` (`ip route del`). False if there is none.
    pub fn remove_route(&mut self, netns: NetnsId, dst: Ipv4Net, selector: Selector) -> bool {
        self.netns_mut(netns).fib.remove(TableId::Main, dst, selector).is_ok()
    }

    /// Sets a setting by name, as `sysctl -w`.
    pub fn set_sysctl(&mut self, netns: NetnsId, name: &str, value: &str) -> Result<(), BuildError> {
        let ns = self.netns_mut(netns);
        let result = if ipvs::Settings::has(name) {
            ns.ipvs.settings.set(name, value)
        } else {
            ns.sysctls.set(&ns.devices, name, value)
        };
        result.map_err(|source| BuildError::Sysctl { netns: ns.name.clone(), source })
    }

    /// The link on which a veth transmits.
    ///
    /// # Panics
    /// If the device is not a veth.
    pub fn link_mut(&mut self, netns: NetnsId, device: DeviceId) -> &mut Link {
        Arc::make_mut(&mut self.links).get_mut(&(netns, device)).expect("every veth has a link")
    }

    /// Names of netns and device, for reports.
    pub fn device_name(&self, netns: NetnsId, device: DeviceId) -> &str {
        &self.netns[index(netns)].devices.get(device).name
    }
}

/// A device that goes down or loses its carrier stops being an active port, if it is one (`br_stp_disable_port`,
/// net/bridge/br_stp_if.c).
fn port_stops(ns: &mut Netns, cx: &mut Context<'_>, device: DeviceId) {
    ns.fdb.flush_port(device);
    if let Some(bridge) = ns.devices.get(device).master {
        neigh_carrier_down(ns, cx, bridge);
    }
}

/// Clears the neighbours of a bridge when its last live port goes down (`neigh_carrier_down`, net/core/neighbour.c).
fn neigh_carrier_down(ns: &mut Netns, cx: &mut Context<'_>, bridge: DeviceId) {
    if !ns.devices.has_live_port(bridge) {
        ns.neigh.on_carrier_down(cx, bridge);
    }
}
