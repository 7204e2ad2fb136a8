//! The two implementations of iptables.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The iptables implementation that loads rules. Both accept the same text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Backend {
    /// `iptables-legacy`: the kernel's xtables.
    #[default]
    Legacy,
    /// `iptables-nft`: xtables matches and targets in nftables chains.
    Nft,
}

impl Backend {
    /// Both, in report order.
    pub const ALL: [Self; 2] = [Self::Legacy, Self::Nft];

    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Legacy => "legacy",
            Self::Nft => "nft",
        }
    }

    /// The back end with that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|backend| backend.name() == name)
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}
