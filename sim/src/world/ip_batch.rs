//! Executes `ip -batch` input: the addresses and dummy devices that a node has for its virtual addresses.

use super::{LoadError, World};
use crate::ids::{DeviceId, NetnsId};
use crate::text::error::{Parse, Problem, RuleErrorKind};
use crate::text::line::Line;
use crate::text::words::Value;
use crate::wire::MacAddr;
use ipnet::Ipv4Net;
use std::net::Ipv4Addr;
use std::sync::Arc;

const TOOL: &str = "ip -batch";

impl World {
    /// Executes the commands `address add`, `address del`, `link add` of a dummy device, and `link set` up or down, one per
    /// line. As with the tool, the commands before one that is refused have taken effect.
    ///
    /// # Errors
    /// The first line that the tool or the kernel refuses, or that is not modelled, with its position.
    pub fn ip_batch(&mut self, netns: NetnsId, source: &str, text: &str) -> Result<(), LoadError> {
        for (number, line) in (1..).zip(text.lines()) {
            self.ip_command(netns, source, number, line)?;
        }
        Ok(())
    }

    /// Executes one command: the arguments of `ip`, as line `number` of `source`.
    ///
    /// # Errors
    /// See [`World::ip_batch`]. [`RuleErrorKind::DeviceExists`] for a `link add` of a device that exists.
    pub fn ip_command(
        &mut self,
        netns: NetnsId,
        source: &str,
        number: u32,
        line: &str,
    ) -> Result<(), LoadError> {
        let source: Arc<str> = source.into();
        let written = line.split_once('#').map_or(line, |(command, _)| command);
        self.ip_words(netns, written).map_err(|problem| problem.in_line(TOOL, &source, number, line))
    }

    fn ip_words(&mut self, netns: NetnsId, line: &str) -> Parse<()> {
        let mut words = Line::split(line);
        let Some(object) = words.next() else { return Ok(()) };
        match object.text {
            "address" | "addr" | "a" => self.ip_address(netns, &mut words),
            "link" | "l" => self.ip_link(netns, &mut words),
            _ => Err(unsupported(object, "address or link")),
        }
    }

    /// `add ADDRESS/LENGTH dev DEVICE`, `del ADDRESS/LENGTH dev DEVICE`
    fn ip_address(&mut self, netns: NetnsId, words: &mut Line<'_>) -> Parse<()> {
        let verb = words.required("add or del")?;
        if !matches!(verb.text, "add" | "del" | "delete") {
            return Err(unsupported(verb, "add or del"));
        }
        let address = words.required("an address")?;
        let net = network(address)?;
        let dev = words.required("dev")?;
        if dev.text != "dev" {
            return Err(unsupported(dev, "dev"));
        }
        let name = words.required("a device")?;
        words.nothing_more()?;
        let device = self.named(netns, name)?;
        let result = match verb.text {
            "add" => self.add_address(netns, device, net),
            _ => self.remove_address(netns, device, net),
        };
        result.map_err(|error| refused(address, &error))
    }

    fn ip_link(&mut self, netns: NetnsId, words: &mut Line<'_>) -> Parse<()> {
        let verb = words.required("add or set")?;
        match verb.text {
            "add" => self.ip_link_add(netns, words),
            "set" => self.ip_link_set(netns, words),
            _ => Err(unsupported(verb, "add or set")),
        }
    }

    /// `add [name] NAME type dummy`
    fn ip_link_add(&mut self, netns: NetnsId, words: &mut Line<'_>) -> Parse<()> {
        let name = named_after(words, &["name", "dev"])?;
        for expected in ["type", "dummy"] {
            let word = words.required(expected)?;
            if word.text != expected {
                return Err(unsupported(word, expected));
            }
        }
        words.nothing_more()?;
        let ns = self.netns(netns);
        if ns.devices.by_name(name.text).is_some() {
            let problem = name.expected("the name of a new device");
            return Err(problem.kind(RuleErrorKind::DeviceExists));
        }
        // The kernel draws the MAC address. A dummy device transmits nothing, so it is never seen.
        let number = u8::try_from(ns.devices.iter().count()).unwrap_or(u8::MAX);
        let [_, _, high, low] = netns.0.to_be_bytes();
        let mac = MacAddr([0x02, 0x64, 0, high, low, number]);
        self.add_dummy(netns, name.text, mac).map(drop).map_err(|error| refused(name, &error))
    }

    /// `set [dev] NAME up`, `set [dev] NAME down`
    fn ip_link_set(&mut self, netns: NetnsId, words: &mut Line<'_>) -> Parse<()> {
        let name = named_after(words, &["dev"])?;
        let device = self.named(netns, name)?;
        let state = words.required("up or down")?;
        let is_up = match state.text {
            "up" => true,
            "down" => false,
            _ => return Err(unsupported(state, "up or down")),
        };
        words.nothing_more()?;
        self.set_up(netns, device, is_up);
        Ok(())
    }

    fn named(&self, netns: NetnsId, name: Value<'_>) -> Parse<DeviceId> {
        let found = self.netns(netns).devices.by_name(name.text).map(|device| device.id);
        found.ok_or_else(|| name.expected("a device of this node"))
    }
}

/// A name, which one of these words may precede.
fn named_after<'w>(words: &mut Line<'w>, introductions: &[&str]) -> Parse<Value<'w>> {
    let first = words.required("a device")?;
    if introductions.contains(&first.text) { words.required("a device") } else { Ok(first) }
}

/// An address with its prefix length; without one, a single address.
fn network(value: Value<'_>) -> Parse<Ipv4Net> {
    let single = || value.text.parse::<Ipv4Addr>().map(|addr| Ipv4Net::new_assert(addr, 32));
    value.text.parse().or_else(|_| single()).map_err(|_| {
        let problem = value.expected("an IPv4 address, such as 10.96.0.1/32");
        if value.text.contains(':') {
            problem.kind(RuleErrorKind::Unsupported).help("IPv6 is not modelled")
        } else {
            problem
        }
    })
}

fn unsupported(word: Value<'_>, expected: &'static str) -> Box<Problem> {
    word.expected(expected).kind(RuleErrorKind::Unsupported).help("this use of ip(8) is not modelled")
}

/// The kernel's error about a command.
fn refused(word: Value<'_>, error: &impl ToString) -> Box<Problem> {
    word.expected("a command that the kernel accepts").kind(RuleErrorKind::Refused).help(error.to_string())
}
