//! Ranges of ports, as each tool writes them.

use super::error::Parse;
use super::value::port;
use super::words::Value;
use std::fmt::Write as _;

/// A range of ports, inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PortRange {
    pub(crate) first: u16,
    pub(crate) last: u16,
}

/// How an option of a tool writes a range. A single port is a range as well, everywhere.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PortRangeSyntax {
    /// Between the ports.
    separator: char,
    /// Either port may be missing: the lowest or highest port.
    is_open: bool,
    /// The order of the ports.
    order: PortOrder,
}

#[derive(Clone, Copy, Debug)]
enum PortOrder {
    /// Any; a range whose first port is above its last contains no port.
    Any,
    /// The tool swaps the ports if necessary.
    Sorted,
    /// The first is not above the last.
    Ascending,
    /// The first is below the last.
    StrictlyAscending,
}

impl PortRangeSyntax {
    const fn new(separator: char, is_open: bool, order: PortOrder) -> Self {
        Self { separator, is_open, order }
    }

    /// `--sport` and `--dport` of tcp and udp: `parse_tcp_ports`, extensions/libxt_tcp.c.
    pub(crate) const PORT: Self = Self::new(':', true, PortOrder::Ascending);

    /// `multiport`: `parse_multi_ports_v1`, extensions/libxt_multiport.c.
    pub(crate) const MULTIPORT: Self = Self::new(':', false, PortOrder::StrictlyAscending);

    /// `--ctorigdstport` and the others of `conntrack`: `XTTYPE_PORTRC`, which does not compare them
    /// (`xtopt_parse_mport`, libxtables/xtoptions.c).
    pub(crate) const CONNTRACK: Self = Self::new(':', true, PortOrder::Any);

    /// NAT targets: `parse_ports`, extensions/libxt_NAT.c.
    pub(crate) const NAT: Self = Self::new('-', false, PortOrder::Ascending);

    /// Elements of ipsets: `ipset_parse_tcpudp_port`, lib/parse.c; `port_to` below `port` is swapped by the kernel
    /// (`hash_ipport4_uadt`, net/netfilter/ipset/ip_set_hash_ipport.c).
    pub(crate) const IPSET: Self = Self::new('-', false, PortOrder::Sorted);

    /// Parses a range.
    pub(crate) fn parse(self, value: Value<'_>) -> Parse<PortRange> {
        let Some((first, last)) = value.text.split_once(self.separator) else {
            return port(value).map(PortRange::single);
        };
        let bound = |text: &str, missing| {
            if self.is_open && text.is_empty() { Ok(missing) } else { port(value.part(text)) }
        };
        let (first, last) = (bound(first, 0)?, bound(last, u16::MAX)?);
        match self.order {
            PortOrder::Ascending if first > last => {
                Err(value.expected("a port range with the first port not above the last"))
            }
            PortOrder::StrictlyAscending if first >= last => {
                Err(value.expected("a port range with the first port below the last"))
            }
            PortOrder::Sorted => Ok(PortRange { first: first.min(last), last: first.max(last) }),
            PortOrder::Any | PortOrder::Ascending | PortOrder::StrictlyAscending => {
                Ok(PortRange { first, last })
            }
        }
    }

    /// Appends a range; a single port without separator.
    pub(crate) fn print(self, out: &mut String, range: PortRange) {
        _ = write!(out, "{}", range.first);
        if !range.is_single() {
            _ = write!(out, "{}{}", self.separator, range.last);
        }
    }
}

impl PortRange {
    /// Every port.
    pub(crate) const ALL: Self = Self { first: 0, last: u16::MAX };

    /// One port.
    pub(crate) const fn single(port: u16) -> Self {
        Self { first: port, last: port }
    }

    pub(crate) const fn is_single(self) -> bool {
        self.first == self.last
    }

    pub(crate) const fn contains(self, port: u16) -> bool {
        self.first <= port && port <= self.last
    }
}
