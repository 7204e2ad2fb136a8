//! Source address selection (net/ipv4/devinet.c).

use crate::device::{Device, Devices, InterfaceAddr, Scope};
use crate::ids::DeviceId;
use crate::sysctl::Sysctls;
use std::net::Ipv4Addr;

/// The source address for packets to `next_hop` through `device`; `None` if no device has a usable one.
///
/// D-06: the first primary address whose subnet contains the next hop, else the first primary; never a secondary; if
/// the device has none, the first primary of any device, including `lo`.
/// Linux: inet_select_addr.
pub fn select_source(
    devices: &Devices,
    sysctls: &Sysctls,
    device: DeviceId,
    next_hop: Option<Ipv4Addr>,
    scope: Scope,
) -> Option<Ipv4Addr> {
    let mut usable = devices
        .get(device)
        .addrs
        .iter()
        .filter(|held| !held.is_secondary && held.scope.min(localnet_scope(sysctls, device)) <= scope);
    let first = usable.clone().next();
    let best = match next_hop {
        Some(next_hop) => usable.find(|held| held.covers(next_hop)).or(first),
        None => first,
    };
    if let Some(best) = best {
        return Some(best.net.addr());
    }
    // Linux: in_dev_select_addr; addresses with scope link are not used for other devices.
    let lends =
        |held: &&InterfaceAddr| !held.is_secondary && held.scope != Scope::Link && held.scope <= scope;
    devices.iter().find_map(|other| other.addrs.iter().find(lends)).map(|held| held.net.addr())
}

/// A local address that meets the conditions: on `device` (any if none), equal to `local` (any if none), in the same
/// subnet as `peer` (any if none), and with at least `scope`.
/// Linux: inet_confirm_addr.
pub fn confirm_address(
    devices: &Devices,
    sysctls: &Sysctls,
    device: Option<DeviceId>,
    peer: Option<Ipv4Addr>,
    local: Option<Ipv4Addr>,
    scope: Scope,
) -> Option<Ipv4Addr> {
    match device {
        Some(device) => confirm_on(devices.get(device), sysctls, peer, local, scope),
        None => devices.iter().find_map(|device| confirm_on(device, sysctls, peer, local, scope)),
    }
}

// Linux: confirm_addr_indev. One address provides the result, the same or another one the subnet.
fn confirm_on(
    device: &Device,
    sysctls: &Sysctls,
    peer: Option<Ipv4Addr>,
    local: Option<Ipv4Addr>,
    scope: Scope,
) -> Option<Ipv4Addr> {
    let localnet = localnet_scope(sysctls, device.id);
    let mut answer = None;
    let mut has_subnet = false;
    for held in &device.addrs {
        let is_usable = held.scope.min(localnet) <= scope;
        if answer.is_none() && local.is_none_or(|local| local == held.net.addr()) && is_usable {
            answer = Some(held.net.addr());
            if has_subnet {
                break;
            }
        }
        if has_subnet {
            continue;
        }
        has_subnet =
            local.is_none_or(|local| held.covers(local)) && peer.is_none_or(|peer| held.covers(peer));
        if let (true, Some(addr)) = (has_subnet, answer) {
            if local.is_some() || peer.is_none() || held.covers(addr) {
                break;
            }
            if is_usable {
                answer = Some(held.net.addr());
                break;
            }
            has_subnet = false;
        }
    }
    answer.filter(|_| has_subnet)
}

/// With route_localnet, addresses with scope host may be used on links.
fn localnet_scope(sysctls: &Sysctls, device: DeviceId) -> Scope {
    if sysctls.route_localnet(device) { Scope::Link } else { Scope::Host }
}
