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
pub use table::{Fib, FibEntry};

use crate::device::Devices;
use crate::drop_reason::DropReason;
use crate::route::RouteResult;
use crate::sysctl::Sysctls;

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

impl Routing<'_> {
    /// A number that changes whenever a decision may (`rt_genid`, include/net/net_namespace.h).
    pub const fn generation(&self) -> u64 {
        // None of them ever decreases, so that the sum changes with each.
        self.devices.generation() + self.fib.generation() + self.sysctls.generation()
    }

    /// [`route_output`] with these.
    ///
    /// # Errors
    /// Why there is no route.
    pub fn output(&self, key: &OutputKey) -> Result<RouteResult, DropReason> {
        route_output(self.fib, self.devices, self.sysctls, key)
    }
}

#[cfg(test)]
mod tests;
