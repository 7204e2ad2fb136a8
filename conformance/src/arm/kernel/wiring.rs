//! Devices, addresses, routes and sysctls of a lab, collected and then applied with few namespace switches: one per
//! veth pair between namespaces, and one per namespace for the rest.

use std::io;
use std::net::IpAddr;
use std::thread;
use std::time::{Duration, Instant};

use indexmap::IndexMap;
use ipnet::IpNet;
use sim::wire::MacAddr;

use super::lab::{Lab, LabError, LabNetns};
use super::rtnetlink::{IpCommand, NewDevice, Rtnetlink};
use crate::settings::{Place, sysctls};
use sim::sysctl::Sysctls;

/// Time for devices to come up. The kernel completes this in the background (net/core/link_watch.c).
const TIME_LIMIT: Duration = Duration::from_secs(5);

/// One end of a veth pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkEnd<'a> {
    /// The node whose namespace contains it.
    pub node: &'a str,
    /// The device name.
    pub device: &'a str,
    /// The MAC address.
    pub mac: MacAddr,
}

/// The configuration of a lab.
#[derive(Debug, Clone, Default)]
pub struct Wiring {
    /// Bridges and veth pairs in order of creation, by node name.
    links: Vec<NewLink>,
    /// The remaining parts, by node.
    nodes: IndexMap<String, Part>,
}

#[derive(Debug, Clone)]
enum NewLink {
    Bridge(OwnedEnd),
    Veth(OwnedEnd, OwnedEnd),
}

#[derive(Debug, Clone)]
struct OwnedEnd {
    node: String,
    device: String,
    mac: MacAddr,
}

/// The configuration within one namespace.
#[derive(Debug, Clone, Default)]
struct Part {
    is_new: bool,
    early_sysctls: Vec<(String, String)>,
    orders: Vec<IpCommand>,
    sysctls: Vec<(String, String)>,
    /// Devices to wait for until they have a carrier.
    devices: Vec<String>,
    /// Devices that are created here.
    new_devices: Vec<String>,
}

impl Wiring {
    /// Configures a new namespace: disables IPv6 and sets the loopback device up.
    pub fn begin(&mut self, node: &str) {
        self.part(node).is_new = true;
    }

    /// A sysctl that is written before devices are created, so that a value for `default` applies to all of them.
    pub fn early_sysctl(&mut self, node: &str, name: &str, value: &str) {
        self.part(node).early_sysctls.push((name.to_owned(), value.to_owned()));
    }

    /// A sysctl that is written after everything else exists.
    pub fn sysctl(&mut self, node: &str, name: &str, value: &str) {
        self.part(node).sysctls.push((name.to_owned(), value.to_owned()));
    }

    /// A bridge without multicast snooping, which sends frames of its own.
    pub fn bridge(&mut self, node: &str, device: &str, mac: MacAddr) {
        self.links.push(NewLink::Bridge(OwnedEnd { node: node.to_owned(), device: device.to_owned(), mac }));
        let part = self.part(node);
        part.orders.push(IpCommand::Up { device: device.to_owned() });
        part.new_devices.push(device.to_owned());
    }

    /// A veth pair, both ends up; `master` makes the first end a bridge port, with or without the hairpin flag.
    pub fn veth(&mut self, port: LinkEnd<'_>, leaf: LinkEnd<'_>, master: Option<(&str, bool)>) {
        let owned = |end: LinkEnd<'_>| OwnedEnd {
            node: end.node.to_owned(),
            device: end.device.to_owned(),
            mac: end.mac,
        };
        self.links.push(NewLink::Veth(owned(port), owned(leaf)));
        if let Some((bridge, is_hairpin)) = master {
            let order = IpCommand::Master { port: port.device.to_owned(), bridge: bridge.to_owned() };
            self.part(port.node).orders.push(order);
            self.hairpin(port.node, port.device, is_hairpin);
        }
        for end in [port, leaf] {
            let part = self.part(end.node);
            part.orders.push(IpCommand::Up { device: end.device.to_owned() });
            part.devices.push(end.device.to_owned());
            part.new_devices.push(end.device.to_owned());
        }
    }

    /// Sets the hairpin flag of a bridge port.
    pub fn hairpin(&mut self, node: &str, port: &str, is_on: bool) {
        self.part(node).orders.push(IpCommand::Hairpin { port: port.to_owned(), is_on });
    }

    /// Sets the MTU of a device, in bytes.
    pub fn mtu(&mut self, node: &str, device: &str, mtu: u16) {
        self.part(node).orders.push(IpCommand::Mtu { device: device.to_owned(), mtu });
    }

    /// Adds an address to a device.
    pub fn address(&mut self, node: &str, device: &str, address: IpNet) {
        self.part(node).orders.push(IpCommand::Address { device: device.to_owned(), net: address });
    }

    /// Adds a route through a next hop, or to an on-link network.
    pub fn route(&mut self, node: &str, to: IpNet, via: Option<IpAddr>, device: &str) {
        self.part(node).orders.push(IpCommand::Route { to, via, device: device.to_owned() });
    }

    /// Removes a route, if it is still there.
    pub fn remove_route(&mut self, node: &str, to: IpNet, via: Option<IpAddr>, device: &str) {
        self.part(node).orders.push(IpCommand::RemoveRoute { to, via, device: device.to_owned() });
    }

    fn part(&mut self, node: &str) -> &mut Part {
        self.nodes.entry(node.to_owned()).or_default()
    }

    /// Applies everything, and waits until every link is up.
    ///
    /// # Errors
    /// If the kernel rejects something; the message is the kernel's.
    pub fn apply(&self, lab: &Lab) -> Result<(), LabError> {
        let parts = || self.nodes.iter().map(|(node, part)| (lab.netns(node), part));
        for (netns, part) in parts().filter(|(_, part)| part.is_new || !part.early_sysctls.is_empty()) {
            netns.enter(|| part.begin(netns))??;
        }
        if let Some(NewLink::Bridge(first) | NewLink::Veth(first, _)) = self.links.first() {
            // From inside a namespace of the lab, so that the machine's own is not involved.
            let netns = lab.netns(&first.node);
            let opened = netns.enter(Rtnetlink::open)?;
            self.make_links(lab, &opened.map_err(|source| netns.fault(source))?)?;
        }
        for (netns, part) in parts() {
            netns.enter(|| part.carry_out(netns))??;
        }
        for (netns, part) in parts().filter(|(_, part)| !part.devices.is_empty()) {
            netns.enter(|| are_up(&part.devices))?.map_err(|source| netns.fault(source))?;
        }
        Ok(())
    }

    fn make_links(&self, lab: &Lab, rtnetlink: &Rtnetlink) -> Result<(), LabError> {
        self.links.iter().try_for_each(|link| {
            let (end, kind, made) = match link {
                NewLink::Bridge(end) => (end, "bridge", rtnetlink.add_bridge(end.new_device(lab))),
                NewLink::Veth(end, peer) => {
                    (end, "veth", rtnetlink.add_veth(end.new_device(lab), peer.new_device(lab)))
                }
            };
            made.map_err(|source| {
                lab.netns(&end.node).refused(format!("ip link add {} type {kind}", end.device), source)
            })
        })
    }
}

impl OwnedEnd {
    fn new_device<'a>(&'a self, lab: &Lab) -> NewDevice<'a> {
        NewDevice { name: &self.device, mac: self.mac, netns: lab.netns(&self.node).raw_fd() }
    }
}

impl Part {
    /// The part before all links, inside the namespace.
    fn begin(&self, netns: &LabNetns) -> Result<(), LabError> {
        if self.is_new {
            // The kernel queues for the lock here. Writing `ip_forward` afterwards may not have to: while another lab
            // holds the lock, the kernel makes the thread retry (`devinet_sysctl_forward`, net/ipv4/devinet.c).
            let rtnetlink = Rtnetlink::open().map_err(|source| netns.fault(source))?;
            let device = || "lo".to_owned();
            for order in [IpCommand::NoSegmentation { device: device() }, IpCommand::Up { device: device() }]
            {
                rtnetlink.carry_out(&order).map_err(|source| netns.refused(order.to_string(), source))?;
            }
        }
        if self.is_new {
            // Before devices are created, so that they follow the defaults. Writing `disable_ipv6` of `all` would need a
            // lock, and while another lab holds it the kernel makes the thread retry (`addrconf_disable_ipv6`,
            // net/ipv6/addrconf.c).
            netns.set_sysctls_here(sysctls(Place::KernelOnly))?;
            let inherited = inherited("net.ipv4.conf.");
            netns
                .reset_sysctls_here(inherited.iter().map(|(name, value)| (name.as_str(), value.as_str())))?;
            let lo = [of_device("net.ipv4.conf.", "lo"), of_device("net.ipv4.neigh.", "lo")].concat();
            netns.reset_sysctls_here(borrowed(&lo))?;
        }
        netns.set_sysctls_here(borrowed(&self.early_sysctls))
    }

    /// The part after all links.
    fn carry_out(&self, netns: &LabNetns) -> Result<(), LabError> {
        if !self.orders.is_empty() {
            let rtnetlink = Rtnetlink::open().map_err(|source| netns.fault(source))?;
            self.orders.iter().try_for_each(|order| {
                rtnetlink.carry_out(order).map_err(|source| netns.refused(order.to_string(), source))
            })?;
        }
        for device in &self.new_devices {
            netns.reset_sysctls_here(borrowed(&of_device("net.ipv4.neigh.", device)))?;
        }
        netns.set_sysctls_here(borrowed(&self.sysctls))
    }
}

/// Sysctls of a group that a new namespace takes from the machine, with the kernel's defaults.
fn inherited(group: &str) -> Vec<(String, String)> {
    Sysctls::inherited().into_iter().filter(|(name, _)| name.starts_with(group)).collect()
}

/// The same for one device, which starts with the values of `default`.
fn of_device(group: &str, device: &str) -> Vec<(String, String)> {
    let default = format!("{group}default.");
    let leaves = inherited(&default).into_iter();
    leaves.map(|(name, value)| (name.replace(&default, &format!("{group}{device}.")), value)).collect()
}

/// Waits until all devices have a carrier; earlier frames are dropped.
fn are_up(devices: &[String]) -> io::Result<()> {
    devices.iter().try_for_each(|device| wait(device, true))
}

/// Waits until a device has a carrier, or has none.
fn wait(device: &str, has_link: bool) -> io::Result<()> {
    let deadline = Instant::now() + TIME_LIMIT;
    let rtnetlink = Rtnetlink::open()?;
    while rtnetlink.is_running(device)? != has_link {
        if Instant::now() > deadline {
            let message = format!("the carrier of {device} does not change");
            return Err(io::Error::new(io::ErrorKind::TimedOut, message));
        }
        thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// Waits until a device is up with a carrier, or is not. Kernels that do not update a device's state on request
/// (`rtnl_getlink`, net/core/rtnetlink.c) take up to a second (`linkwatch_schedule_work`, net/core/link_watch.c).
///
/// # Errors
/// On timeout.
pub(super) fn wait_for_link(netns: &LabNetns, device: &str, has_link: bool) -> Result<(), LabError> {
    netns.enter(|| wait(device, has_link))?.map_err(|source| netns.fault(source))
}

fn borrowed(sysctls: &[(String, String)]) -> impl Iterator<Item = (&str, &str)> {
    sysctls.iter().map(|(name, value)| (&**name, &**value))
}
