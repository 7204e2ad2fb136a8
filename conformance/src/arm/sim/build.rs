//! Builds a world from a topology, and applies changes of the topology.

use std::time::Duration;

use proxy_core::objects::Protocol;
use sim::fib::{Route as SimRoute, Selector};
use sim::ids::{DeviceId, NetnsId};
use sim::ipset::IpsetOptions;
use sim::link::{Link, Probability};
use sim::socket::{Responder, Server};
use sim::world::{BuildError, VethEnd};
use sim::xtables::RestoreOptions;

use super::super::{ArmError, TEARDOWN};
use super::SimArm;
use crate::arm::ipv4::ipv4_only;
use crate::netns::NetnsName;
use crate::prepare::LinkEnd;
use crate::scenario::{LinkState, ObjectName, Share};
use crate::topology::{
    AddressPlan, LinkPlan, ListenerPlan, NetnsPlan, RoutePlan, Topology, TopologyChange, VethPlan,
};

/// The name of a node's own rules in traces: `own.rules:3`.
const OWN_RULES: &str = "own.rules";

/// The name of the text with a node's own sets.
const OWN_SETS: &str = "own.sets";
/// The name of a node's own routes and policy rules in errors.
const OWN_ROUTES: &str = "own.routes";

impl From<BuildError> for ArmError {
    /// Topologies are generated, so a rejection is a bug.
    fn from(error: BuildError) -> Self {
        Self::Internal(error.to_string())
    }
}

impl SimArm {
    pub(super) fn build_all(&mut self, topology: &Topology) -> Result<(), ArmError> {
        self.topology = topology.clone();
        for (netns, plan) in &topology.netns {
            self.add_netns(netns, plan)?;
        }
        for link in topology.links() {
            match link {
                LinkPlan::Bridge(netns, bridge) => {
                    self.world.add_bridge(self.id(netns)?, &bridge.name, bridge.mac)?;
                }
                LinkPlan::Veth(veth) => self.add_veth(veth)?,
            }
        }
        for (netns, plan) in &topology.netns {
            self.configure(netns, plan)?;
        }
        Ok(())
    }

    pub(super) fn apply_changes(
        &mut self,
        changes: &[TopologyChange],
        after: &Topology,
    ) -> Result<(), ArmError> {
        self.end_processes(changes)?;
        for change in changes {
            match change {
                TopologyChange::Remove(netns) => self.remove(netns)?,
                TopologyChange::Add(netns) => {
                    let plan = &after.netns[netns];
                    self.add_netns(netns, plan)?;
                    for veth in after.veths.iter().filter(|veth| veth.leaf.netns == *netns) {
                        self.add_veth(veth)?;
                    }
                    if let Some(bridge) = &plan.bridge {
                        self.world.add_bridge(self.id(netns)?, &bridge.name, bridge.mac)?;
                    }
                }
                TopologyChange::AddAddress(netns, address) => self.add_address(netns, address)?,
                TopologyChange::RemoveRoute(netns, route) => self.remove_route(netns, route)?,
                TopologyChange::AddRoute(netns, route) => {
                    let id = self.id(netns)?;
                    let device = self.live_device(id, &route.device)?;
                    if self.world.netns(id).devices.get(device).is_up {
                        self.add_route(netns, route)?;
                    }
                }
                TopologyChange::Close(..) => {}
                TopologyChange::Open(netns, listener) => self.open(netns, listener)?,
            }
        }
        // When all devices exist, as routes of a node may lead through those of its Pods.
        for change in changes {
            if let TopologyChange::Add(netns) = change {
                self.configure(netns, &after.netns[netns])?;
            }
        }
        self.topology = after.clone();
        Ok(())
    }

    fn add_netns(&mut self, netns: &NetnsName, plan: &NetnsPlan) -> Result<(), ArmError> {
        let id = self.world.add_netns(&netns.to_string());
        self.ids.insert(netns.clone(), id);
        for (name, value) in &plan.early_sysctls {
            self.world.set_sysctl(id, name, value)?;
        }
        Ok(())
    }

    fn add_veth(&mut self, veth: &VethPlan) -> Result<(), ArmError> {
        let port_netns = self.id(&veth.port.netns)?;
        let port_name = self.free_name(port_netns, &veth.port.device)?;
        let port = VethEnd { netns: port_netns, name: &port_name, mac: veth.port.mac };
        let leaf_netns = self.id(&veth.leaf.netns)?;
        let leaf = VethEnd { netns: leaf_netns, name: &veth.leaf.device, mac: veth.leaf.mac };
        let (port_device, leaf_device) = self.world.add_veth(port, leaf, Link::default())?;
        if let Some((bridge, is_hairpin)) = &veth.master {
            let bridge = self.world.device(port_netns, bridge)?;
            self.world.set_master(port_netns, port_device, Some(bridge));
            self.world.set_hairpin(port_netns, port_device, *is_hairpin);
        }
        if let Some(mtu) = veth.mtu {
            self.world.set_mtu(port_netns, port_device, mtu)?;
            self.world.set_mtu(leaf_netns, leaf_device, mtu)?;
        }
        Ok(())
    }

    /// The name, or another one if a removed Pod had the same address: its devices remain in the world, permanently
    /// down, where the kernel would delete them.
    fn free_name(&self, netns: NetnsId, name: &str) -> Result<String, ArmError> {
        let suffixes = std::iter::once(String::new()).chain(('a'..='z').map(String::from));
        suffixes
            .map(|suffix| format!("{name}{suffix}"))
            .find(|name| self.world.device(netns, name).is_err())
            .ok_or_else(|| {
                let message =
                    format!("{name} was deleted and added again more than 26 times, which is not supported");
                ArmError::Refused(message)
            })
    }

    /// The device with this name in the plan: the newest one.
    fn live_device(&self, netns: NetnsId, name: &str) -> Result<DeviceId, ArmError> {
        let devices = &self.world.netns(netns).devices;
        let is_named_so = |device: &&sim::device::Device| {
            device.name.strip_prefix(name).is_some_and(|suffix| suffix.len() <= 1)
        };
        let found = devices.iter().filter(is_named_so).last().map(|device| device.id);
        found.ok_or_else(|| ArmError::Internal(format!("no device {name}")))
    }

    fn configure(&mut self, netns: &NetnsName, plan: &NetnsPlan) -> Result<(), ArmError> {
        for address in &plan.addresses {
            self.add_address(netns, address)?;
        }
        for route in &plan.routes {
            self.add_route(netns, route)?;
        }
        let id = self.id(netns)?;
        self.add_own_routes(netns, plan)?;
        for (name, value) in &plan.sysctls {
            let refused = |error: BuildError| ArmError::Refused(error.to_string());
            self.world.set_sysctl(id, name, value).map_err(refused)?;
        }
        if let Some(sets) = &plan.own.ipset {
            let loaded = self.world.ipset_restore(id, OWN_SETS, sets, IpsetOptions::default());
            loaded.map_err(|error| ArmError::Refused(format!("{netns}: {error}")))?;
        }
        if let Some(rules) = &plan.own.iptables {
            let options = RestoreOptions { noflush: true, counters: false };
            let loaded = self.world.iptables_restore(id, OWN_RULES, rules, options);
            loaded.map_err(|error| ArmError::Refused(format!("{netns}: {error}")))?;
        }
        for listener in &plan.listeners {
            self.open(netns, listener)?;
        }
        Ok(())
    }

    fn add_own_routes(&mut self, netns: &NetnsName, plan: &NetnsPlan) -> Result<(), ArmError> {
        let id = self.id(netns)?;
        let refused = |error| ArmError::Refused(format!("{netns}: {error}"));
        for (line, number) in plan.own.ip_routes.iter().zip(1..) {
            self.world.ip_route_add(id, OWN_ROUTES, number, line).map_err(refused)?;
        }
        for (line, number) in plan.own.ip_rules.iter().zip(1..) {
            self.world.ip_rule_add(id, OWN_ROUTES, number, line).map_err(refused)?;
        }
        Ok(())
    }

    fn add_address(&mut self, netns: &NetnsName, address: &AddressPlan) -> Result<(), ArmError> {
        let id = self.id(netns)?;
        let device = self.live_device(id, &address.device)?;
        Ok(self.world.add_address(id, device, ipv4_only(address.net)?)?)
    }

    fn add_route(&mut self, netns: &NetnsName, route: &RoutePlan) -> Result<(), ArmError> {
        let id = self.id(netns)?;
        let device = self.live_device(id, &route.device)?;
        let route = match route.via {
            Some(gateway) => SimRoute::via(ipv4_only(route.to)?, ipv4_only(gateway)?).on(device),
            None => SimRoute::direct(ipv4_only(route.to)?, device),
        };
        Ok(self.world.add_route(id, route)?)
    }

    fn remove_route(&mut self, netns: &NetnsName, route: &RoutePlan) -> Result<(), ArmError> {
        let id = self.id(netns)?;
        let device = Some(self.live_device(id, &route.device)?);
        let selector = Selector { via: route.via.map(ipv4_only).transpose()?, device, ..Selector::default() };
        // It may have gone with its device.
        self.world.remove_route(id, ipv4_only(route.to)?, selector);
        Ok(())
    }

    fn open(&mut self, netns: &NetnsName, listener: &ListenerPlan) -> Result<(), ArmError> {
        let id = self.id(netns)?;
        let name = listener.name.as_str().into();
        let server = match (listener.zone.clone(), listener.page.clone()) {
            (None, None) => Server::Identify { name },
            (_, Some(page)) => {
                let answer = move |request: &[u8], identity: &str| Some(page.respond(request, identity));
                Server::Respond { name, responder: Responder::new(answer) }
            }
            (Some(zone), None) => {
                let answer = move |request: &[u8], identity: &str| Some(zone.respond(request, identity));
                Server::Respond { name, responder: Responder::new(answer) }
            }
        };
        let opened = match listener.protocol {
            Protocol::Tcp => self.world.tcp_listen(id, None, listener.port, server),
            Protocol::Udp => self.world.udp_bind(id, None, listener.port, server),
            // No client connects over SCTP yet; other servers cannot use the port.
            Protocol::Sctp => return Ok(()),
        };
        let socket = opened.map_err(|_| {
            let port = listener.port;
            ArmError::Refused(format!("{}: port {port} of {netns} has two servers", listener.name))
        })?;
        self.servers.insert((netns.clone(), listener.clone()), socket);
        Ok(())
    }

    /// Ends the servers of removed Pods and of closed ports, and lets their connections close.
    fn end_processes(&mut self, changes: &[TopologyChange]) -> Result<(), ArmError> {
        let mut has_ended = false;
        for (netns, port) in changes.iter().filter_map(TopologyChange::ended_servers) {
            has_ended = true;
            let id = self.id(netns)?;
            let is_ended = |(owner, known): &(NetnsName, ListenerPlan)| {
                owner == netns && port.is_none_or(|port| port == known)
            };
            let ended: Vec<_> = self.servers.keys().filter(|key| is_ended(key)).cloned().collect();
            for socket in ended.iter().filter_map(|key| self.servers.remove(key)) {
                self.world.exit(id, socket);
            }
            if port.is_none() {
                self.end_clients(netns)?;
            }
        }
        if has_ended { self.run_until(self.world.now() + TEARDOWN) } else { Ok(()) }
    }

    /// Removes a network namespace: its devices go down permanently, which isolates it.
    fn remove(&mut self, netns: &NetnsName) -> Result<(), ArmError> {
        let veths: Vec<VethPlan> =
            self.topology.veths.iter().filter(|veth| veth.leaf.netns == *netns).cloned().collect();
        for VethPlan { port, leaf, .. } in veths {
            for end in [port, leaf] {
                let id = self.id(&end.netns)?;
                let device = self.live_device(id, &end.device)?;
                // Deleting a device removes its addresses, and the routes that they added.
                let addresses = self.topology.netns.get(&end.netns).map(|plan| plan.addresses.clone());
                for address in addresses.unwrap_or_default() {
                    if address.device == end.device {
                        self.world.remove_address(id, device, ipv4_only(address.net)?)?;
                    }
                }
                self.world.set_up(id, device, false);
                self.world.set_master(id, device, None);
            }
        }
        self.ids.remove(netns);
        Ok(())
    }

    pub(super) fn set_hairpin(&mut self, pod: &ObjectName, is_on: bool) -> Result<(), ArmError> {
        let (id, device) = self.port_of(&NetnsName::Pod(pod.clone()))?;
        self.world.set_hairpin(id, device, is_on);
        Ok(())
    }

    /// The end of a veth pair that is a port of a node or of the switch.
    fn port_of(&self, leaf: &NetnsName) -> Result<(NetnsId, DeviceId), ArmError> {
        let port = &self.topology.attachment(leaf).port;
        let id = self.id(&port.netns)?;
        Ok((id, self.live_device(id, &port.device)?))
    }

    /// Sets one end of a link up or down.
    pub(super) fn set_end(
        &mut self,
        netns: &NetnsName,
        end: LinkEnd,
        state: LinkState,
    ) -> Result<(), ArmError> {
        let end = self.topology.link_end(netns, end);
        let id = self.id(&end.netns)?;
        let device = self.live_device(id, &end.device)?;
        self.world.set_up(id, device, state == LinkState::Up);
        Ok(())
    }

    /// Sets the MTU of both ends of a link.
    pub(super) fn set_mtu(&mut self, netns: &NetnsName, mtu: u16) -> Result<(), ArmError> {
        let (port_netns, port) = self.port_of(netns)?;
        let leaf_netns = self.id(netns)?;
        let leaf = self.world.device(leaf_netns, "eth0")?;
        for (id, device) in [(port_netns, port), (leaf_netns, leaf)] {
            self.world.set_mtu(id, device, mtu)?;
        }
        Ok(())
    }

    pub(super) fn set_link(
        &mut self,
        netns: &NetnsName,
        latency: Option<Duration>,
        loss: Option<Share>,
    ) -> Result<(), ArmError> {
        let (port_netns, port) = self.port_of(netns)?;
        let leaf_netns = self.id(netns)?;
        let leaf = self.world.device(leaf_netns, "eth0")?;
        for (id, device) in [(port_netns, port), (leaf_netns, leaf)] {
            let link = self.world.link_mut(id, device);
            if let Some(latency) = latency {
                link.latency = latency;
            }
            if let Some(loss) = loss {
                link.loss = probability(loss);
            }
        }
        Ok(())
    }
}

/// Rounds to a millionth.
fn probability(share: Share) -> Probability {
    let parts = u64::from(share.numerator()) * 1_000_000;
    let denominator = u64::from(share.denominator());
    let nearest = (parts + denominator / 2) / denominator;
    u32::try_from(nearest).ok().and_then(Probability::per_million).unwrap_or(Probability::ALWAYS)
}
