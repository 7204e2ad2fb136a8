//! The words of a hook: family, hook, priority, verdict, and where a packet is (include/linux/netfilter.h).

use crate::drop_reason::DropReason;
use crate::ids::DeviceId;
use std::fmt;

/// Protocol family of a hook (`NFPROTO_*`, include/uapi/linux/netfilter.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// `NFPROTO_IPV4`.
    Ipv4,
    /// `NFPROTO_IPV6`.
    Ipv6,
    /// `NFPROTO_BRIDGE`.
    Bridge,
}

/// The five hooks of an IP family, numbered as `NF_INET_*` (include/uapi/linux/netfilter.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hook {
    /// `NF_INET_PRE_ROUTING`: after arrival, before the routing decision.
    Prerouting,
    /// `NF_INET_LOCAL_IN`: addressed to this netns.
    Input,
    /// `NF_INET_FORWARD`: routed through this netns.
    Forward,
    /// `NF_INET_LOCAL_OUT`: made by this netns.
    Output,
    /// `NF_INET_POST_ROUTING`: about to leave.
    Postrouting,
}

impl Hook {
    /// Every hook, in the kernel's numbering.
    pub const ALL: [Self; 5] =
        [Self::Prerouting, Self::Input, Self::Forward, Self::Output, Self::Postrouting];

    /// The name of the built-in iptables chain on this hook.
    pub const fn chain_name(self) -> &'static str {
        match self {
            Self::Prerouting => "PREROUTING",
            Self::Input => "INPUT",
            Self::Forward => "FORWARD",
            Self::Output => "OUTPUT",
            Self::Postrouting => "POSTROUTING",
        }
    }
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.chain_name())
    }
}

/// Order of entries at one hook; lower runs first (include/uapi/linux/netfilter_ipv4.h, `enum nf_ip_hook_priorities`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Priority(pub i32);

impl Priority {
    /// `NF_IP_PRI_FIRST`.
    pub const FIRST: Self = Self(i32::MIN);
    /// `NF_IP_PRI_CONNTRACK_DEFRAG`.
    pub const CONNTRACK_DEFRAG: Self = Self(-400);
    /// `NF_IP_PRI_RAW`.
    pub const RAW: Self = Self(-300);
    /// `NF_IP_PRI_CONNTRACK`.
    pub const CONNTRACK: Self = Self(-200);
    /// `NF_IP_PRI_MANGLE`.
    pub const MANGLE: Self = Self(-150);
    /// `NF_IP_PRI_NAT_DST`.
    pub const NAT_DST: Self = Self(-100);
    /// `NF_IP_PRI_FILTER`.
    pub const FILTER: Self = Self(0);
    /// `NF_IP_PRI_SECURITY`.
    pub const SECURITY: Self = Self(50);
    /// `NF_IP_PRI_NAT_SRC`.
    pub const NAT_SRC: Self = Self(100);
    /// `NF_IP_PRI_CONNTRACK_CONFIRM`.
    pub const CONNTRACK_CONFIRM: Self = Self(i32::MAX);
}

/// What rules, conntrack or NAT say about a packet (`NF_ACCEPT`, `NF_DROP`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use]
pub enum Verdict {
    /// The next entry of the hook sees the packet.
    Accept,
    /// The packet ends here.
    Drop(DropReason),
}

/// Where in the stack a packet is while rules look at it (`struct nf_hook_state`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HookState {
    /// Family of the hook.
    pub family: Family,
    /// The hook.
    pub hook: Hook,
    /// Input device; none on OUTPUT, and on POSTROUTING.
    pub in_dev: Option<DeviceId>,
    /// Output device; none on PREROUTING and INPUT.
    pub out_dev: Option<DeviceId>,
}
