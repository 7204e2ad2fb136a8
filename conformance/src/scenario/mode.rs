//! Proxy modes and address families by name.

use std::fmt;

use proxy_core::generator::Generator;

/// How kube-proxy implements Services.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProxyMode {
    /// iptables rules.
    Iptables,
    /// IPVS virtual services.
    Ipvs,
    /// nftables rules.
    Nftables,
    /// kube-proxy itself relays connections.
    Userspace,
}

impl ProxyMode {
    /// Every mode, in the order in which they are reported.
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

    /// The mode of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.name() == name)
    }

    /// What generates its rules; `None` if this version cannot run it.
    pub const fn generator(self) -> Option<Generator> {
        match self {
            Self::Iptables => Some(Generator::Iptables),
            Self::Ipvs | Self::Nftables | Self::Userspace => None,
        }
    }

    /// The generator of a mode that is run.
    ///
    /// # Panics
    /// If this version cannot run the mode: callers check [`ProxyMode::is_available`] first.
    pub fn available_generator(self) -> Generator {
        self.generator().unwrap_or_else(|| panic!("the mode {self} has no rules in this version"))
    }

    /// Whether this version can run it.
    pub const fn is_available(self) -> bool {
        self.generator().is_some()
    }

    /// Modes that this version can run.
    pub fn available() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|mode| mode.is_available())
    }
}

impl fmt::Display for ProxyMode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// Address families of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IpFamilies {
    /// IPv4 alone.
    Ipv4,
    /// IPv6 alone.
    Ipv6,
    /// Both.
    Dual,
}

impl IpFamilies {
    /// Every choice, in the order in which they are reported.
    pub const ALL: [Self; 3] = [Self::Ipv4, Self::Ipv6, Self::Dual];

    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
            Self::Dual => "dual",
        }
    }

    /// The choice of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|family| family.name() == name)
    }

    /// Whether this version can run it.
    pub fn is_available(self) -> bool {
        self == Self::Ipv4
    }
}

impl fmt::Display for IpFamilies {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}
