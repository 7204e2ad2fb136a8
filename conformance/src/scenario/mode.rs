//! Proxy modes and address families by name.

use std::fmt;

use proxy_core::generator::Generator;
use serde::{Deserialize, Serialize};

/// How kube-proxy implements Services.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ProxyMode {
    /// iptables rules.
    Iptables,
    /// IPVS virtual services.
    Ipvs,
    /// nftables rules.
    Nftables,
    /// kube-proxy relays connections itself.
    Userspace,
}

impl ProxyMode {
    /// All modes, in report order.
    pub const ALL: [Self; 4] = [Self::Iptables, Self::Ipvs, Self::Nftables, Self::Userspace];

    /// Its name in files and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Iptables => "iptables",
            Self::Ipvs => "ipvs",
            Self::Nftables => "nftables",
            Self::Userspace => "userspace",
        }
    }

    /// The mode with that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.name() == name)
    }

    /// The generator of its rules; `None` if this version has none.
    pub const fn generator(self) -> Option<Generator> {
        match self {
            Self::Iptables => Some(Generator::Iptables),
            Self::Ipvs => Some(Generator::Ipvs),
            Self::Nftables | Self::Userspace => None,
        }
    }

    /// The generator of an available mode.
    ///
    /// # Panics
    /// If this version does not run the mode: callers check [`ProxyMode::is_available`] first.
    pub fn available_generator(self) -> Generator {
        self.generator()
            .filter(|_| self.is_available())
            .unwrap_or_else(|| panic!("the mode {self} does not run in this version"))
    }

    /// True if this version runs scenarios in the mode.
    pub const fn is_available(self) -> bool {
        match self {
            Self::Iptables | Self::Ipvs => true,
            Self::Nftables | Self::Userspace => false,
        }
    }

    /// Modes in which this version runs scenarios.
    pub fn available() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|mode| mode.is_available())
    }
}

impl fmt::Display for ProxyMode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// The modes in which to run a scenario.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ModeChoice {
    /// The modes that the scenario names; iptables mode if it names none.
    #[default]
    Named,
    /// Every mode that the scenario supports.
    All,
    /// This mode, if the scenario supports it.
    One(ProxyMode),
}

impl ModeChoice {
    /// The choice that stands for every mode on the command line.
    pub const ALL: &'static str = "all";

    /// The choice of a command line: a mode, [`ModeChoice::ALL`], or nothing. `None` if there is no such mode.
    pub fn parse(word: Option<&str>) -> Option<Self> {
        match word {
            None => Some(Self::Named),
            Some(Self::ALL) => Some(Self::All),
            Some(name) => ProxyMode::parse(name).map(Self::One),
        }
    }
}

impl fmt::Display for ModeChoice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named => formatter.write_str("of the scenario"),
            Self::All => formatter.write_str(Self::ALL),
            Self::One(mode) => mode.fmt(formatter),
        }
    }
}

/// Address families of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum IpFamilies {
    /// IPv4 only.
    Ipv4,
    /// IPv6 only.
    Ipv6,
    /// Both.
    Dual,
}

impl IpFamilies {
    /// All choices, in report order.
    pub const ALL: [Self; 3] = [Self::Ipv4, Self::Ipv6, Self::Dual];

    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
            Self::Dual => "dual",
        }
    }

    /// The choice with that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|family| family.name() == name)
    }

    /// True if this version supports the mode.
    pub fn is_available(self) -> bool {
        self == Self::Ipv4
    }
}

impl fmt::Display for IpFamilies {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}
