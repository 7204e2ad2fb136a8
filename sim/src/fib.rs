//! Routing: the tables of a netns, and the decisions that Linux makes with them.
//!
//! There are no policy rules (`ip rule`), no multipath routes, no TOS routes and no route exceptions (path MTU, redirects).
//! Without policy rules Linux keeps the local and the main table in one trie, so that the longest prefix wins across
//! both; so does [`Fib`].

mod address;
mod input;
mod output;
mod route;
mod source;
mod table;

pub use address::{
    add_address, on_address_added, on_address_removed, on_device_down, on_device_up, remove_address,
};
pub use input::{InputKey, error_code, is_redirect_due, route_input};
pub use output::{OutputKey, route_me_harder, route_output};
pub use route::{FibError, Route, Selector, TableId};
pub use source::{confirm_address, select_source};
pub use table::{Entry, Fib};

use crate::device::{DeviceId, Devices};
use crate::sysctl::Sysctls;
use std::net::Ipv4Addr;

/// What a route does with a packet (`rtm_type`, include/uapi/linux/rtnetlink.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RouteKind {
    /// `RTN_UNICAST`: to a gateway, or directly.
    Unicast,
    /// `RTN_LOCAL`: an address of this netns.
    Local,
    /// `RTN_BROADCAST`: a broadcast address of this netns.
    Broadcast,
    /// `RTN_MULTICAST`.
    Multicast,
    /// `RTN_UNREACHABLE`: answered with ICMP host unreachable.
    Unreachable,
    /// `RTN_PROHIBIT`: answered with ICMP prohibited.
    Prohibit,
    /// `RTN_BLACKHOLE`: dropped in silence.
    Blackhole,
}

/// A routing decision (`struct rtable`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RouteResult {
    /// Unicast, local, broadcast or multicast; the others are errors.
    pub kind: RouteKind,
    /// Output device; the loopback for local delivery.
    pub device: DeviceId,
    /// Gateway; `None` when the destination is on the link.
    pub gateway: Option<Ipv4Addr>,
    /// Source address of an answer or of a socket that has none; unspecified if no device has an address.
    pub source: Ipv4Addr,
}

impl RouteResult {
    /// To where a packet goes that this netns sends to `asked` by this route: 0.0.0.0 means the sender itself
    /// (`ip_route_output_key_hash_rcu`, net/ipv4/route.c, writes the source into the key, and sockets take it from there).
    pub const fn destination(&self, asked: Ipv4Addr) -> Ipv4Addr {
        if asked.is_unspecified() { self.source } else { asked }
    }
}

/// What a decision about addresses depends on: the devices of a netns, its routes and its settings.
#[derive(Clone, Copy, Debug)]
pub struct Routing<'a> {
    /// Devices and their addresses.
    pub devices: &'a Devices,
    /// Routing tables.
    pub fib: &'a Fib,
    /// Settings.
    pub sysctls: &'a Sysctls,
}

#[cfg(test)]
mod tests;
