//! What a node loads, as an ordered list: text for its tools, and the few commands that are not text.
//!
//! Independent of the proxy mode: every mode produces such a list ([`crate::generator`]), and loading it needs one
//! function per tool.

use std::fmt;

use crate::objects::IpFamily;

/// One item to load, after the items before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Load {
    /// Sets a sysctl: `sysctl NAME=VALUE`.
    Sysctl {
        /// The name, with dots: `net.ipv4.conf.all.route_localnet`.
        name: String,
        /// The value.
        value: String,
    },
    /// Ensures a chain or a jump, with the command `iptables` or `ip6tables`, or a device, with the command `ip`.
    Ensure(Ensure),
    /// Passes text to a tool.
    Text {
        /// The tool.
        tool: Tool,
        /// Its input.
        text: String,
    },
}

/// Something to create unless it exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ensure {
    /// A chain: `iptables -t TABLE -N CHAIN`.
    ///
    /// kube-proxy: `EnsureChain`, pkg/util/iptables/iptables.go.
    Chain {
        /// The family of the table.
        family: IpFamily,
        /// The table.
        table: Table,
        /// The chain.
        chain: &'static str,
    },
    /// A rule inserted at the start of its chain: `iptables -t TABLE -I CHAIN RULE`.
    ///
    /// kube-proxy: `EnsureRule` with `Prepend`, pkg/util/iptables/iptables.go.
    Jump {
        /// The family of the table.
        family: IpFamily,
        /// The table.
        table: Table,
        /// The chain of the rule.
        from: &'static str,
        /// The rule without its chain: matches and `-j TARGET`.
        rule: String,
    },
    /// A dummy device: `ip link add DEVICE type dummy`.
    ///
    /// kube-proxy: `EnsureDummyDevice`, pkg/proxy/ipvs/netlink_linux.go.
    Device {
        /// Its name.
        device: &'static str,
    },
}

impl Ensure {
    /// The command that creates it: `iptables -t nat -N KUBE-SERVICES`.
    pub fn command(&self) -> String {
        let program = self.program();
        match self {
            Self::Chain { table, chain, .. } => format!("{program} -t {table} -N {chain}"),
            Self::Jump { table, from, rule, .. } => format!("{program} -t {table} -I {from} {rule}"),
            Self::Device { device } => format!("{program} link add {device} type dummy"),
        }
    }

    /// The command that succeeds if a jump exists: `iptables -t nat -C PREROUTING RULE`. `None` for what cannot be created twice.
    pub fn check(&self) -> Option<String> {
        match self {
            Self::Jump { table, from, rule, .. } => {
                Some(format!("{} -t {table} -C {from} {rule}", self.program()))
            }
            Self::Chain { .. } | Self::Device { .. } => None,
        }
    }

    /// The program: `iptables`, `ip6tables` or `ip`.
    pub const fn program(&self) -> &'static str {
        match self {
            Self::Chain { family, .. } | Self::Jump { family, .. } => match family {
                IpFamily::V4 => "iptables",
                IpFamily::V6 => "ip6tables",
            },
            Self::Device { .. } => "ip",
        }
    }
}

/// A tool that loads text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tool {
    /// `iptables-restore --noflush`.
    IptablesRestore,
    /// `ip6tables-restore --noflush`.
    Ip6tablesRestore,
    /// `ipset restore`. Both families have sets in one input.
    IpsetRestore,
    /// `ipvsadm --restore`. Both families have virtual services in one input.
    IpvsadmRestore,
    /// `ip -batch`.
    IpBatch,
}

impl Tool {
    /// The file name of the text.
    pub const fn file(self) -> &'static str {
        match self {
            Self::IptablesRestore => "iptables.rules",
            Self::Ip6tablesRestore => "ip6tables.rules",
            Self::IpsetRestore => "ipset.rules",
            Self::IpvsadmRestore => "ipvs.rules",
            Self::IpBatch => "ip.batch",
        }
    }
}

/// A table of iptables that kube-proxy writes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// `filter`.
    Filter,
    /// `nat`.
    Nat,
}

impl fmt::Display for Table {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Filter => "filter",
            Self::Nat => "nat",
        })
    }
}
