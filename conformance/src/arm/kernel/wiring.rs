//! Devices, addresses, routes and sysctls of a lab, collected and then carried out by as few processes as possible: one
//! `ip -batch` for every link between namespaces, and one per namespace for the rest.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::Ipv4Addr;

use indexmap::IndexMap;
use ipnet::Ipv4Net;
use rayon::iter::{IntoParallelRefIterator, ParallelIterator};
use sim::wire::MacAddr;

use super::lab::{Lab, LabError};

/// What every namespace of a lab gets before its devices: IPv6 keeps silent (its router solicitations and duplicate
/// address detection would show up in captures).
const QUIET: [(&str, &str); 2] =
    [("net.ipv6.conf.all.disable_ipv6", "1"), ("net.ipv6.conf.default.disable_ipv6", "1")];

/// One end of a veth pair.
#[derive(Debug, Clone, PartialEq, Eq)]
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
    /// Lines for the namespace from which links between namespaces are made.
    links: String,
    /// Lines by node.
    lines: IndexMap<String, String>,
    /// Sysctls by node, written before the node's lines are carried out.
    sysctls: BTreeMap<String, Vec<(String, String)>>,
}

impl Wiring {
    /// A veth pair. The ends come up with [`Wiring::up`].
    pub fn veth(&mut self, first: &End<'_>, second: &End<'_>, mtu: u16, lab: &Lab) {
        let (first_netns, second_netns) = (lab.netns_name(first.node), lab.netns_name(second.node));
        line(
            &mut self.links,
            format_args!(
                "link add name {} address {} mtu {mtu} netns {first_netns} \
                 type veth peer name {} address {} mtu {mtu} netns {second_netns}",
                first.device, first.mac, second.device, second.mac
            ),
        );
    }

    /// A bridge without spanning tree and without multicast snooping: both send frames of their own.
    pub fn bridge(&mut self, node: &str, device: &str, mac: MacAddr) {
        let args = format_args!(
            "link add name {device} address {mac} type bridge stp_state 0 forward_delay 0 mcast_snooping 0"
        );
        line(self.lines(node), args);
    }

    /// Makes a device a port of a bridge.
    pub fn attach(&mut self, node: &str, device: &str, bridge: &str, is_hairpin: bool) {
        let hairpin = if is_hairpin { "on" } else { "off" };
        let lines = self.lines(node);
        line(lines, format_args!("link set dev {device} master {bridge}"));
        line(lines, format_args!("link set dev {device} type bridge_slave hairpin {hairpin}"));
    }

    /// Brings a device up.
    pub fn up(&mut self, node: &str, device: &str) {
        line(self.lines(node), format_args!("link set dev {device} up"));
    }

    /// Gives a device an address.
    pub fn address(&mut self, node: &str, device: &str, address: Ipv4Net) {
        line(self.lines(node), format_args!("address add {address} dev {device}"));
    }

    /// A route through a next hop, or to what is on the link.
    pub fn route(&mut self, node: &str, to: Ipv4Net, via: Option<Ipv4Addr>, device: Option<&str>) {
        let via = via.map(|hop| format!(" via {hop}")).unwrap_or_default();
        let device = device.map(|name| format!(" dev {name}")).unwrap_or_default();
        line(self.lines(node), format_args!("route add {to}{via}{device}"));
    }

    /// Any other line of `ip -batch`.
    pub fn ip(&mut self, node: &str, args: &str) {
        line(self.lines(node), format_args!("{args}"));
    }

    /// A sysctl of the node's namespace. It is written before the devices of the namespace come up, so that what is set for
    /// `default` holds for them.
    pub fn sysctl(&mut self, node: &str, name: &str, value: &str) {
        self.sysctls.entry(node.to_owned()).or_default().push((name.to_owned(), value.to_owned()));
    }

    fn lines(&mut self, node: &str) -> &mut String {
        self.lines.entry(node.to_owned()).or_default()
    }

    /// Carries everything out. Every namespace of the lab also gets its loopback device up.
    ///
    /// # Errors
    /// If the kernel refuses something; the message has the tool's own words.
    pub fn apply(&self, lab: &Lab) -> Result<(), LabError> {
        let nodes: Vec<_> = lab.all_netns().collect();
        nodes.par_iter().try_for_each(|netns| netns.set_sysctls(QUIET))?;
        if let (Some(first), false) = (nodes.first(), self.links.is_empty()) {
            // Inside a namespace of the lab: then the machine's own is not even asked.
            first.run("ip", &["-batch", "-"], self.links.as_bytes())?;
        }
        nodes.par_iter().try_for_each(|netns| {
            if let Some(sysctls) = self.sysctls.get(netns.name()) {
                netns.set_sysctls(sysctls.iter().map(|(name, value)| (&**name, &**value)))?;
            }
            let lines = self.lines.get(netns.name()).map_or("", String::as_str);
            netns.run("ip", &["-batch", "-"], format!("link set dev lo up\n{lines}").as_bytes()).map(drop)
        })
    }
}

fn line(lines: &mut String, args: std::fmt::Arguments<'_>) {
    // Writing to a string does not fail.
    let _ = writeln!(lines, "{args}");
}
