//! Differences between kube-proxy releases.

use std::fmt;

/// A kube-proxy release whose behaviour is reproduced.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KubeProxyVersion {
    /// v1.31.
    V1_31,
    /// The newest release examined: the 1.38 development cycle.
    #[default]
    Newest,
}

impl fmt::Display for KubeProxyVersion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::V1_31 => "1.31",
            Self::Newest => "newest",
        })
    }
}

/// One difference between releases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VersionDifference {
    /// The subject.
    pub what: &'static str,
    /// Behaviour of v1.31.
    pub v1_31: &'static str,
    /// Behaviour of the newest release.
    pub newest: &'static str,
    /// The reason for the change, with the upstream reference.
    pub reason: &'static str,
}

/// All differences that are reproduced. Each has a predicate on [`KubeProxyVersion`] below.
pub const DIFFERENCES: [VersionDifference; 5] = [
    VersionDifference {
        what: "KUBE-POSTROUTING: MASQUERADE --random-fully",
        v1_31: "only if iptables is 1.6.2 or later",
        newest: "always",
        reason: "no supported distribution has an older iptables",
    },
    VersionDifference {
        what: "loadBalancerSourceRanges that contain a /0 of the family",
        v1_31: "treated as a range: a KUBE-FW chain that accepts everything",
        newest: "treated as no ranges: no KUBE-FW chain and no KUBE-PROXY-FIREWALL rule",
        reason: "ipset refuses a /0 entry; kubernetes#132722",
    },
    VersionDifference {
        what: "endpoint hints `forNodes`",
        v1_31: "ignored",
        newest: "if every ready endpoint has them and one names this node, they take precedence over zone hints",
        reason: "KEP-3015, trafficDistribution PreferSameNode; gate PreferSameTrafficDistribution",
    },
    VersionDifference {
        what: "nodePortAddresses keywords",
        v1_31: "`primary`, alone in the list",
        newest: "`primary`, `localhost` and `all`, mixed with CIDRs",
        reason: "KEP-6032 requires loopback to be requested by name; kubernetes 1.37",
    },
    VersionDifference {
        what: "stale conntrack entries of UDP Services",
        v1_31: "`conntrack -D` for the Services and endpoints that changed in this sync",
        newest: "the whole table is compared with the serving endpoints; deleted Services count",
        reason: "missed events left stale entries forever; kubernetes#127318, #139629, #141371",
    },
];

impl KubeProxyVersion {
    /// The release with this name, `1.31` or `newest`.
    pub fn of_name(name: &str) -> Option<Self> {
        [Self::V1_31, Self::Newest].into_iter().find(|version| version.to_string() == name)
    }

    /// True if `--random-fully` is written without probing iptables.
    pub(crate) fn always_random_fully(self) -> bool {
        self == Self::Newest
    }

    /// True if a source range that contains every address counts as none.
    pub(crate) fn zero_source_range_is_none(self) -> bool {
        self == Self::Newest
    }

    /// True if hints may name nodes.
    pub(crate) fn reads_node_hints(self) -> bool {
        self == Self::Newest
    }

    /// True if `nodePortAddresses` may mix keywords and CIDRs.
    pub(crate) fn mixes_node_port_address_keywords(self) -> bool {
        self == Self::Newest
    }

    /// True if the conntrack table is reconciled, in place of deleting entries event by event.
    pub(crate) fn reconciles_conntrack(self) -> bool {
        self == Self::Newest
    }
}
