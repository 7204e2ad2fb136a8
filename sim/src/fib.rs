//! Routing: the tables of a netns, and route lookups as in Linux.
//!
//! Multipath routes and TOS routes are not modelled.
//! Until the first policy rule is added, Linux keeps the local and the main table in one trie, so that the longest prefix
//! wins across both (`fib_unmerge`, net/ipv4/fib_trie.c); so does [`Fib`].

mod address;
mod cache;
mod exception;
mod input;
mod output;
mod policy;
mod route;
mod source;
mod table;
mod text;

pub use address::{
    add_address, on_address_added, on_address_removed, on_device_down, on_device_up, remove_address,
};
pub use cache::InputCache;
pub use exception::LIFETIME as REDIRECT_LIFETIME;
pub use input::{InputKey, error_code, is_member, is_redirect_due, route_input};
pub use output::{OutputKey, route_me_harder, route_output};
pub use policy::{FlowKey, PolicyRule, RuleAction, RuleExists};
pub use route::{FibError, Route, Selector, TableId};
pub use source::{confirm_address, select_source};
pub use table::{Fib, FibEntry};

use crate::device::Devices;
use crate::drop_reason::DropReason;
use crate::route::RouteResult;
use crate::sysctl::Sysctls;

/// Inputs of routing decisions: devices, routes and sysctls of a netns.
#[derive(Clone, Copy, Debug)]
pub struct Routing<'a> {
    /// Devices and their addresses.
    pub devices: &'a Devices,
    /// Routing tables.
    pub fib: &'a Fib,
    /// Sysctls.
    pub sysctls: &'a Sysctls,
}

impl Routing<'_> {
    /// A number that changes whenever a routing decision may change (`rt_genid`, include/net/net_namespace.h).
    pub const fn generation(&self) -> u64 {
        // None of them ever decreases, so the sum changes with each.
        self.devices.generation() + self.fib.generation() + self.sysctls.generation()
    }

    /// Calls [`route_output`] with these tables.
    ///
    /// # Errors
    /// The reason why there is no route.
    pub fn output(&self, key: &OutputKey) -> Result<RouteResult, DropReason> {
        route_output(self.fib, self.devices, self.sysctls, key)
    }
}

#[cfg(test)]
mod tests;
