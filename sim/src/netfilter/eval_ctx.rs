//! What a rule evaluator, conntrack and NAT see of a netns.

use crate::context::Context;
use crate::device::Devices;
use crate::fib::Fib;
use crate::hook::HookState;
use crate::ipset::Ipset;
use crate::netfilter::conntrack::Conntrack;
use crate::sysctl::Sysctls;

/// The disjoint borrows of a netns that a rule evaluator, conntrack and NAT may see.
#[derive(Debug)]
pub struct EvalCtx<'a, 'b> {
    /// Time, draws, recording and effects.
    pub cx: &'a mut Context<'b>,
    /// The hook at which the packet is.
    pub state: HookState,
    /// Devices and their addresses.
    pub devices: &'a Devices,
    /// Routing tables; rules ask for address types (`addrtype`).
    pub fib: &'a Fib,
    /// Settings, such as conntrack timeouts.
    pub sysctls: &'a Sysctls,
    /// Sets, which rules ask and change.
    pub ipset: &'a mut Ipset,
    /// The conntrack table, which also holds the NAT bindings.
    pub conntrack: &'a mut Conntrack,
}
