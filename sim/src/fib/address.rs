//! Routes that the kernel adds for addresses (net/ipv4/fib_frontend.c).

use super::{Fib, Route, TableId};
use crate::device::{AddrError, Device, Devices, InterfaceAddr, Scope};
use crate::ids::DeviceId;
use crate::route::RouteKind;
use crate::sysctl::Sysctls;
use ipnet::Ipv4Net;
use std::net::Ipv4Addr;

/// Adds an address to a device, as `ip address add NET dev DEVICE` does, with the implied routes.
///
/// # Errors
/// If the device already has the address, or has its subnet with another scope.
pub fn add_address(
    devices: &mut Devices,
    fib: &mut Fib,
    device: DeviceId,
    net: Ipv4Net,
    scope: Scope,
) -> Result<InterfaceAddr, AddrError> {
    let added = devices.get_mut(device).insert_addr(net, scope)?;
    on_address_added(fib, devices.get(device), added);
    Ok(added)
}

/// Removes an address from a device, as `ip address del NET dev DEVICE` does. The secondaries of a primary are removed
/// with it, unless `promote_secondaries` promotes the first of them.
///
/// # Errors
/// If the device does not have the address.
// Linux: __inet_del_ifa, net/ipv4/devinet.c.
pub fn remove_address(
    devices: &mut Devices,
    fib: &mut Fib,
    sysctls: &Sysctls,
    device: DeviceId,
    net: Ipv4Net,
) -> Result<(), AddrError> {
    let holder = devices.get_mut(device);
    let at = holder.addrs.iter().position(|held| held.net == net).ok_or(AddrError::NotFound)?;
    let removed = holder.addrs[at];
    let secondaries: Vec<_> = holder
        .addrs
        .iter()
        .filter(|held| !removed.is_secondary && held.is_secondary && held.shares_subnet(&removed))
        .copied()
        .collect();
    if !sysctls.promote_secondaries(device) {
        for secondary in &secondaries {
            holder.addrs.retain(|held| held != secondary);
            on_address_removed(fib, holder, *secondary, None);
        }
        holder.addrs.retain(|held| *held != removed);
        on_address_removed(fib, holder, removed, None);
        return Ok(());
    }
    // Their routes have the old primary as source; all are removed while the addresses still exist, and added again
    // below.
    for secondary in &secondaries {
        on_address_removed(fib, holder, *secondary, Some(removed));
    }
    holder.addrs.retain(|held| *held != removed);
    on_address_removed(fib, holder, removed, None);
    if let Some(first) = secondaries.first() {
        promote(fib, holder, *first);
    }
    for secondary in secondaries.iter().skip(1) {
        on_address_added(fib, holder, *secondary);
    }
    Ok(())
}

/// Promotes a secondary to the primary of its subnet, and moves it to a primary's position.
fn promote(fib: &mut Fib, holder: &mut Device, secondary: InterfaceAddr) {
    holder.addrs.retain(|held| *held != secondary);
    let promoted = InterfaceAddr { is_secondary: false, ..secondary };
    let last = holder.addrs.iter().rposition(|held| !held.is_secondary && promoted.scope <= held.scope);
    holder.addrs.insert(last.map_or(0, |index| index + 1), promoted);
    on_address_added(fib, holder, promoted);
}

/// Adds the local, broadcast and connected routes of an address in the device's list.
// Linux: fib_add_ifaddr. The broadcast address is derived from the prefix; `brd` is not modelled.
pub fn on_address_added(fib: &mut Fib, device: &Device, addr: InterfaceAddr) {
    let Some(primary) = device.primary_of(&addr) else { return };
    let source = primary.net.addr();
    fib.append_kernel(device, TableId::Local, local_route(device, addr.net.addr(), source));
    if !device.is_up {
        return;
    }
    if let Some((table, route)) = subnet_route(device, addr) {
        fib.append_kernel(device, table, route);
        if addr.net.prefix_len() < 31 {
            let route = broadcast_route(device, addr.net.broadcast(), source);
            fib.append_kernel(device, TableId::Local, route);
        }
    }
}

/// Removes the routes of an address no longer in the device's list, except those that another address still needs, and
/// every route with the address as preferred source. `promoting` is the primary being removed.
/// Linux: fib_del_ifaddr.
pub fn on_address_removed(
    fib: &mut Fib,
    device: &Device,
    addr: InterfaceAddr,
    promoting: Option<InterfaceAddr>,
) {
    let source = if addr.is_secondary {
        match device.primary_of(&addr) {
            Some(primary) => primary.net.addr(),
            None => return,
        }
    } else {
        addr.net.addr()
    };
    let subnet = subnet_route(device, addr);
    if let Some((table, route)) = subnet {
        fib.remove_kernel(table, &route);
    }
    let stays = |other: &&InterfaceAddr| {
        **other != addr && promoting.is_none_or(|primary| !other.shares_subnet(&primary))
    };
    let others: Vec<_> = device
        .addrs
        .iter()
        .filter(stays)
        .filter(|other| device.primary_of(other).is_some_and(|primary| primary.net.addr() == source))
        .collect();
    if subnet.is_some() && addr.net.prefix_len() < 31 {
        let broadcast = addr.net.broadcast();
        let is_needed = others.iter().any(|other| {
            !other.is_secondary && other.net.prefix_len() < 31 && other.net.broadcast() == broadcast
        });
        if !is_needed {
            fib.remove_kernel(TableId::Local, &broadcast_route(device, broadcast, source));
        }
    }
    if others.iter().any(|other| other.net.addr() == addr.net.addr()) {
        return;
    }
    fib.remove_kernel(TableId::Local, &local_route(device, addr.net.addr(), source));
    let is_gone = !device.addrs.contains(&addr);
    if is_gone && fib.addr_type(addr.net.addr()) != RouteKind::Local {
        // Linux: fib_sync_down_addr, net/ipv4/fib_semantics.c.
        fib.retain(|entry| entry.route.source != Some(addr.net.addr()));
    }
    if device.addrs.is_empty() {
        // Linux: fib_inetaddr_event disables IP on a device without addresses, which removes its routes.
        fib.retain(|entry| entry.device != Some(device.id));
    }
}

/// Removes the routes of a device that went down, except local routes (`fib_sync_down_dev`).
pub fn on_device_down(fib: &mut Fib, device: DeviceId) {
    fib.retain(|entry| entry.device != Some(device) || entry.route.scope == Scope::Host);
}

/// Adds the routes implied by addresses of a device that came up; routes added by the user are not restored.
pub fn on_device_up(fib: &mut Fib, device: &Device) {
    for addr in &device.addrs {
        on_address_added(fib, device, *addr);
    }
}

/// The connected route of a primary address, if it has one: a /32 does not.
fn subnet_route(device: &Device, addr: InterfaceAddr) -> Option<(TableId, Route)> {
    let subnet = addr.net.trunc();
    let is_host = subnet.prefix_len() == 32;
    if addr.is_secondary || subnet.addr().is_unspecified() || is_host {
        return None;
    }
    let source = addr.net.addr();
    Some(if device.is_loopback() {
        (TableId::Local, Route::local(subnet, device.id).from(source))
    } else {
        (TableId::Main, Route::direct(subnet, device.id).from(source))
    })
}

fn local_route(device: &Device, addr: Ipv4Addr, source: Ipv4Addr) -> Route {
    Route::local(host(addr), device.id).from(source)
}

fn broadcast_route(device: &Device, broadcast: Ipv4Addr, source: Ipv4Addr) -> Route {
    Route { kind: RouteKind::Broadcast, ..Route::direct(host(broadcast), device.id).from(source) }
}

fn host(addr: Ipv4Addr) -> Ipv4Net {
    Ipv4Net::new_assert(addr, 32)
}
