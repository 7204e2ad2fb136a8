//! The five tables of a family, with the hooks at which each is registered.

use crate::hook::{Hook, Priority};
use crate::netfilter::nat;

/// A table of a family, declared in the order of `iptables-save`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TableKind {
    /// `mangle` (net/ipv4/netfilter/iptable_mangle.c).
    Mangle,
    /// `security` (net/ipv4/netfilter/iptable_security.c).
    Security,
    /// `raw` (net/ipv4/netfilter/iptable_raw.c).
    Raw,
    /// `filter` (net/ipv4/netfilter/iptable_filter.c).
    Filter,
    /// `nat` (net/ipv4/netfilter/iptable_nat.c).
    Nat,
}

impl TableKind {
    /// All tables.
    pub const ALL: [Self; 5] = [Self::Mangle, Self::Security, Self::Raw, Self::Filter, Self::Nat];

    /// The name in rule text.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mangle => "mangle",
            Self::Security => "security",
            Self::Raw => "raw",
            Self::Filter => "filter",
            Self::Nat => "nat",
        }
    }

    /// The table with that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// The hooks at which the table has a base chain, with their priorities, in the order of its chains.
    pub const fn hooks(self) -> &'static [(Hook, Priority)] {
        use Hook::{Forward, Input, Output, Postrouting, Prerouting};
        match self {
            Self::Mangle => &[
                (Prerouting, Priority::MANGLE),
                (Input, Priority::MANGLE),
                (Forward, Priority::MANGLE),
                (Output, Priority::MANGLE),
                (Postrouting, Priority::MANGLE),
            ],
            Self::Security => {
                &[(Input, Priority::SECURITY), (Forward, Priority::SECURITY), (Output, Priority::SECURITY)]
            }
            Self::Raw => &[(Prerouting, Priority::RAW), (Output, Priority::RAW)],
            Self::Filter => {
                &[(Input, Priority::FILTER), (Forward, Priority::FILTER), (Output, Priority::FILTER)]
            }
            // Linux: nf_nat_ipv4_ops, net/ipv4/netfilter/iptable_nat.c. These two priorities are those of the nat hook
            // itself, which calls the table only for flows without a binding.
            Self::Nat => &nat::HOOKS,
        }
    }

    /// Position in [`TableKind::ALL`].
    pub(super) const fn index(self) -> usize {
        self as usize
    }
}
