//! Settings of IPVS mode: the part `ipvs` of kube-proxy's configuration.

use std::fmt;

use ipnet::IpNet;

use super::{configuration_error, parse_duration};
use crate::address::parse_cidr;
use crate::error::ObjectError;
use crate::objects::IpvsConfiguration;

/// Settings of IPVS mode.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IpvsSettings {
    /// The scheduler of every virtual service.
    pub scheduler: Scheduler,
    /// Virtual services with these addresses are never deleted.
    pub excluded: Vec<IpNet>,
    /// The node answers ARP requests for an address only on the device that has it.
    pub strict_arp: bool,
    /// Timeouts of IPVS connections.
    pub timeouts: IpvsTimeouts,
}

/// Timeouts of IPVS connections in seconds; 0 keeps the kernel's: 900, 120 and 300.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct IpvsTimeouts {
    /// Established TCP connections.
    pub tcp: u64,
    /// TCP connections after a FIN.
    pub tcp_fin: u64,
    /// UDP flows.
    pub udp: u64,
}

impl IpvsTimeouts {
    /// True if one of them is to be set.
    pub const fn are_set(self) -> bool {
        self.tcp > 0 || self.tcp_fin > 0 || self.udp > 0
    }
}

/// A scheduler of IPVS, by the kernel's name. Linux: `net/netfilter/ipvs/ip_vs_NAME.c`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scheduler {
    /// Round robin.
    #[default]
    Rr,
    /// Weighted round robin.
    Wrr,
    /// Least connections.
    Lc,
    /// Weighted least connections.
    Wlc,
    /// Locality-based least connections.
    Lblc,
    /// Locality-based least connections with replication.
    Lblcr,
    /// Source hashing.
    Sh,
    /// Destination hashing.
    Dh,
    /// Shortest expected delay.
    Sed,
    /// Never queue.
    Nq,
    /// Maglev hashing.
    Mh,
    /// Weighted failover.
    Fo,
    /// Weighted overflow.
    Ovf,
    /// Power of two choices.
    Twos,
}

impl Scheduler {
    /// Every scheduler.
    pub const ALL: [Self; 14] = [
        Self::Rr,
        Self::Wrr,
        Self::Lc,
        Self::Wlc,
        Self::Lblc,
        Self::Lblcr,
        Self::Sh,
        Self::Dh,
        Self::Sed,
        Self::Nq,
        Self::Mh,
        Self::Fo,
        Self::Ovf,
        Self::Twos,
    ];

    /// The kernel's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rr => "rr",
            Self::Wrr => "wrr",
            Self::Lc => "lc",
            Self::Wlc => "wlc",
            Self::Lblc => "lblc",
            Self::Lblcr => "lblcr",
            Self::Sh => "sh",
            Self::Dh => "dh",
            Self::Sed => "sed",
            Self::Nq => "nq",
            Self::Mh => "mh",
            Self::Fo => "fo",
            Self::Ovf => "ovf",
            Self::Twos => "twos",
        }
    }

    /// The flags that kube-proxy gives to virtual services with this scheduler, as `ipvsadm -b` names them.
    ///
    /// kube-proxy: `FlagSourceHash`, pkg/proxy/ipvs/util/ipvs.go, is `IP_VS_SVC_F_SCHED_MH_PORT` (0x10): the hash
    /// includes the source port. Source hashing gets no flag: all connections of a client have one server.
    pub const fn flags(self) -> Option<&'static str> {
        match self {
            Self::Mh => Some("mh-port"),
            Self::Rr
            | Self::Wrr
            | Self::Lc
            | Self::Wlc
            | Self::Lblc
            | Self::Lblcr
            | Self::Sh
            | Self::Dh
            | Self::Sed
            | Self::Nq
            | Self::Fo
            | Self::Ovf
            | Self::Twos => None,
        }
    }
}

impl fmt::Display for Scheduler {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl IpvsSettings {
    /// Reads and validates the settings.
    pub(super) fn new(configuration: &IpvsConfiguration) -> Result<Self, ObjectError> {
        let mut excluded = Vec::new();
        for (index, text) in configuration.exclude_cidrs.iter().enumerate() {
            let path = format!("ipvs.excludeCIDRs[{index}]");
            excluded.push(parse_cidr(text).ok_or_else(|| configuration_error(&path, text, "a CIDR"))?);
        }
        Ok(Self {
            scheduler: scheduler(&configuration.scheduler)?,
            excluded,
            strict_arp: configuration.strict_arp,
            timeouts: IpvsTimeouts {
                tcp: timeout("tcpTimeout", configuration.tcp_timeout.as_deref())?,
                tcp_fin: timeout("tcpFinTimeout", configuration.tcp_fin_timeout.as_deref())?,
                udp: timeout("udpTimeout", configuration.udp_timeout.as_deref())?,
            },
        })
    }
}

fn scheduler(name: &str) -> Result<Scheduler, ObjectError> {
    if name.is_empty() {
        return Ok(Scheduler::default());
    }
    Scheduler::ALL.into_iter().find(|scheduler| scheduler.name() == name).ok_or_else(|| {
        let names = Scheduler::ALL.map(Scheduler::name).join(", ");
        configuration_error("ipvs.scheduler", name, &format!("a scheduler of IPVS: {names}"))
    })
}

/// A timeout in whole seconds: the kernel's unit.
fn timeout(field: &str, text: Option<&str>) -> Result<u64, ObjectError> {
    text.map_or(Ok(0), |text| {
        parse_duration(text).ok_or_else(|| {
            configuration_error(&format!("ipvs.{field}"), text, "a duration such as 15m0s, 0 or more")
        })
    })
}
