//! The part of a netns that rule evaluators, conntrack and NAT use.

use crate::context::Context;
use crate::device::Devices;
use crate::fib::Fib;
use crate::hook::HookState;
use crate::ipset::Ipset;
use crate::ipvs::Ipvs;
use crate::netfilter::conntrack::Conntrack;
use crate::socket::Sockets;
use crate::sysctl::Sysctls;

/// Disjoint borrows of a netns for rule evaluation, conntrack and NAT.
#[derive(Debug)]
pub struct EvalCtx<'a, 'b> {
    /// Time, draws, recording and effects.
    pub cx: &'a mut Context<'b>,
    /// The current hook.
    pub state: HookState,
    /// Devices and their addresses.
    pub devices: &'a Devices,
    /// Routing tables, used by `addrtype`.
    pub fib: &'a Fib,
    /// Sysctls, such as conntrack timeouts.
    pub sysctls: &'a Sysctls,
    /// Sets, which rules test and modify.
    pub ipset: &'a mut Ipset,
    /// The connections of virtual services, which rules test.
    pub ipvs: &'a Ipvs,
    /// Sockets, which rules look up.
    pub sockets: &'a Sockets,
    /// The conntrack table, which also stores NAT bindings.
    pub conntrack: &'a mut Conntrack,
}
