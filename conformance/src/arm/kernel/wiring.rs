//! Devices, addresses, routes and sysctls of a lab, collected and then carried out by as few processes as possible: one
//! `ip -batch` for every link between namespaces, and one per namespace for the rest.

use std::fmt::{Arguments, Write};
use std::io;
use std::net::Ipv4Addr;
use std::thread;
use std::time::{Duration, Instant};

use indexmap::IndexMap;
use ipnet::Ipv4Net;
use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use rayon::iter::{IntoParallelRefIterator, ParallelIterator};
use sim::wire::MacAddr;

use super::lab::{Lab, LabError, Netns};

/// What every namespace of a lab gets before its devices.
const QUIET: [(&str, &str); 4] = [
    // IPv6 keeps silent: its router solicitations and duplicate address detection would show up in captures.
    ("net.ipv6.conf.all.disable_ipv6", "1"),
    ("net.ipv6.conf.default.disable_ipv6", "1"),
    // Whether Linux follows a redirect depends on whether the socket is in use in that very moment (`tcp_v4_err`,
    // net/ipv4/tcp_ipv4.c), and the simulator follows none. They are still sent, and seen.
    ("net.ipv4.conf.all.accept_redirects", "0"),
    ("net.ipv4.conf.default.accept_redirects", "0"),
];

/// How long devices may take to come up. The kernel finishes that in the background (net/core/link_watch.c).
const TIME_LIMIT: Duration = Duration::from_secs(5);

/// One end of a veth pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End<'a> {
    /// The node whose namespace it is in.
    pub node: &'a str,
    /// Its name there.
    pub device: &'a str,
    /// Its hardware address.
    pub mac: MacAddr,
}

/// What a lab is to become.
#[derive(Debug, Clone, Default)]
pub struct Wiring {
    /// Bridges and veth pairs in the order in which they are made, with the nodes' names still in place of their
    /// namespaces'.
    links: Vec<Link>,
    /// Parts by node.
    nodes: IndexMap<String, Part>,
}

#[derive(Debug, Clone)]
enum Link {
    Bridge(OwnedEnd),
    Veth(OwnedEnd, OwnedEnd),
}

#[derive(Debug, Clone)]
struct OwnedEnd {
    node: String,
    device: String,
    mac: MacAddr,
}

/// What happens in one namespace.
#[derive(Debug, Clone, Default)]
struct Part {
    is_new: bool,
    early_sysctls: Vec<(String, String)>,
    /// Lines of `ip -batch`.
    lines: String,
    sysctls: Vec<(String, String)>,
    /// Devices that have a link, and are to be waited for.
    devices: Vec<String>,
}

impl Wiring {
    /// A namespace that was just made: IPv6 is silenced and the loopback device comes up.
    pub fn begin(&mut self, node: &str) {
        let part = self.part(node);
        part.is_new = true;
        part.line(format_args!("link set dev lo up"));
    }

    /// A sysctl that is written before any device is there, so that what is set for `default` holds for all.
    pub fn early_sysctl(&mut self, node: &str, name: &str, value: &str) {
        self.part(node).early_sysctls.push((name.to_owned(), value.to_owned()));
    }

    /// A sysctl that is written when everything is there.
    pub fn sysctl(&mut self, node: &str, name: &str, value: &str) {
        self.part(node).sysctls.push((name.to_owned(), value.to_owned()));
    }

    /// A bridge without spanning tree and without multicast snooping: both send frames of their own.
    pub fn bridge(&mut self, node: &str, device: &str, mac: MacAddr) {
        self.links.push(Link::Bridge(OwnedEnd { node: node.to_owned(), device: device.to_owned(), mac }));
        self.part(node).line(format_args!("link set dev {device} up"));
    }

    /// A veth pair; `master` makes the first end a port of a bridge, with or without the hairpin flag. Both ends come up.
    pub fn veth(&mut self, port: End<'_>, leaf: End<'_>, master: Option<(&str, bool)>) {
        let owned = |end: End<'_>| OwnedEnd {
            node: end.node.to_owned(),
            device: end.device.to_owned(),
            mac: end.mac,
        };
        self.links.push(Link::Veth(owned(port), owned(leaf)));
        if let Some((bridge, is_hairpin)) = master {
            self.part(port.node).line(format_args!("link set dev {} master {bridge}", port.device));
            self.hairpin(port.node, port.device, is_hairpin);
        }
        for end in [port, leaf] {
            let part = self.part(end.node);
            part.line(format_args!("link set dev {} up", end.device));
            part.devices.push(end.device.to_owned());
        }
    }

    /// The hairpin flag of a bridge port.
    pub fn hairpin(&mut self, node: &str, port: &str, is_on: bool) {
        let value = if is_on { "on" } else { "off" };
        self.part(node).line(format_args!("link set dev {port} type bridge_slave hairpin {value}"));
    }

    /// Gives a device an address.
    pub fn address(&mut self, node: &str, device: &str, address: Ipv4Net) {
        self.part(node).line(format_args!("address add {address} dev {device}"));
    }

    /// A route through a next hop, or to what is on the link.
    pub fn route(&mut self, node: &str, to: Ipv4Net, via: Option<Ipv4Addr>, device: &str) {
        let via = via.map(|hop| format!(" via {hop}")).unwrap_or_default();
        self.part(node).line(format_args!("route add {to}{via} dev {device}"));
    }

    fn part(&mut self, node: &str) -> &mut Part {
        self.nodes.entry(node.to_owned()).or_default()
    }

    /// Carries everything out, and waits until every link is up.
    ///
    /// # Errors
    /// If the kernel refuses something; the message has the tool's own words.
    pub fn apply(&self, lab: &Lab) -> Result<(), LabError> {
        let parts: Vec<(&Netns, &Part)> =
            self.nodes.iter().map(|(node, part)| (lab.netns(node), part)).collect();
        parts.par_iter().try_for_each(|(netns, part)| {
            let quiet = QUIET.iter().copied().filter(|_| part.is_new);
            netns.set_sysctls(quiet.chain(borrowed(&part.early_sysctls)))
        })?;
        if let Some(Link::Bridge(first) | Link::Veth(first, _)) = self.links.first() {
            // Inside a namespace of the lab: then the machine's own is not even asked.
            lab.netns(&first.node).run("ip", &["-batch", "-"], self.link_lines(lab).as_bytes())?;
        }
        parts.par_iter().try_for_each(|(netns, part)| {
            if !part.lines.is_empty() {
                netns.run("ip", &["-batch", "-"], part.lines.as_bytes())?;
            }
            netns.set_sysctls(borrowed(&part.sysctls))
        })?;
        parts.par_iter().try_for_each(|(netns, part)| part.wait_for_links(netns))
    }

    fn link_lines(&self, lab: &Lab) -> String {
        let mut lines = String::new();
        let netns = |end: &OwnedEnd| lab.netns(&end.node).system_name();
        for link in &self.links {
            match link {
                Link::Bridge(end) => line(
                    &mut lines,
                    format_args!(
                        "link add name {} address {} netns {} type bridge stp_state 0 forward_delay 0 mcast_snooping 0",
                        end.device,
                        end.mac,
                        netns(end)
                    ),
                ),
                Link::Veth(first, second) => line(
                    &mut lines,
                    format_args!(
                        "link add name {} address {} netns {} type veth peer name {} address {} netns {}",
                        first.device,
                        first.mac,
                        netns(first),
                        second.device,
                        second.mac,
                        netns(second)
                    ),
                ),
            }
        }
        lines
    }
}

impl Part {
    fn line(&mut self, args: Arguments<'_>) {
        line(&mut self.lines, args);
    }

    fn wait_for_links(&self, netns: &Netns) -> Result<(), LabError> {
        if self.devices.is_empty() {
            return Ok(());
        }
        let fault = |source| LabError::Netns { netns: netns.name().to_owned(), source };
        netns.enter(|| are_up(&self.devices))?.map_err(fault)
    }
}

/// Waits until the links of all devices are up; a frame that comes earlier is dropped.
fn are_up(devices: &[String]) -> io::Result<()> {
    let is_up = |running: &[String]| devices.iter().all(|device| running.contains(device));
    wait(is_up, &devices.join(", "))
}

/// Waits until the devices that have a link are as they should be.
fn wait(is_done: impl Fn(&[String]) -> bool, what: &str) -> io::Result<()> {
    let deadline = Instant::now() + TIME_LIMIT;
    loop {
        let running: Vec<String> = getifaddrs()?
            .filter(|device| device.flags.contains(InterfaceFlags::IFF_RUNNING))
            .map(|device| device.interface_name)
            .collect();
        if is_done(&running) {
            return Ok(());
        }
        if Instant::now() > deadline {
            let message = format!("the link of {what} does not change");
            return Err(io::Error::new(io::ErrorKind::TimedOut, message));
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// Waits until a bridge without ports has no carrier any more. The kernel takes its time: up to a second
/// (`linkwatch_schedule_work`, net/core/link_watch.c).
///
/// # Errors
/// If that takes much longer.
pub(super) fn wait_without_carrier(netns: &Netns, bridge: &str) -> Result<(), LabError> {
    let fault = |source| LabError::Netns { netns: netns.name().to_owned(), source };
    netns.enter(|| wait(|running| !running.iter().any(|name| name == bridge), bridge))?.map_err(fault)
}

fn borrowed(sysctls: &[(String, String)]) -> impl Iterator<Item = (&str, &str)> {
    sysctls.iter().map(|(name, value)| (&**name, &**value))
}

fn line(lines: &mut String, args: Arguments<'_>) {
    // Writing to a string does not fail.
    let _ = writeln!(lines, "{args}");
}
