//! The judge that must find each mutation.

use conformance::mutation::Mutation;
use std::fmt;
use std::path::Path;
use std::process::Command;

/// What finds a fault of the simulator. The first that does is the best: expectations need no kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Judge {
    /// The expectations of a built-in scenario fail, on the simulator alone.
    Expectations(&'static str),
    /// A built-in scenario differs from the kernel.
    Kernel(&'static str),
    /// A random cluster differs from the kernel: the first so many of the seed.
    Fuzz { seed: u64, clusters: u64 },
}

use Judge::{Expectations, Fuzz, Kernel};

/// The judge of a mutation.
pub(crate) const fn of(mutation: Mutation) -> Judge {
    use Mutation as M;
    match mutation {
        // NAT and masquerade
        M::NatReplyUntranslated | M::NatChecksumStale => Expectations("clusterip"),
        M::NatQuoteUntranslated | M::NatRedirectPasses => Expectations("ttl-expires"),
        M::NatClashIgnored => Expectations("nat-source-port-clash"),
        M::NatLowPortsIgnored => Kernel("masquerade-low-port"),
        M::NatAsksEveryPacket => Kernel("lossy-link"),
        M::MasqueradeKeepsPort => Kernel("nodeport-on-localhost"),
        M::MasqueradeTakesFirstDevice => Expectations("nodeport-cluster"),
        // Conntrack
        M::LocalFlowsUnconfirmed => Expectations("host-network-endpoint"),
        M::ErrorsInvalid => Expectations("ttl-expires"),
        M::MidstreamRefused | M::ResetKeepsEntry => Expectations("conntrack-invalid"),
        M::WindowUnchecked | M::ResetUnchecked => Expectations("conntrack-out-of-window"),
        M::SynRetryRefreshes => Expectations("conntrack-syn-retry"),
        M::ReopenRefused => Kernel("conntrack-port-reuse"),
        M::UdpNeverAssured => Kernel("conntrack-default-timeouts"),
        // Timeouts
        M::UdpTimeoutShort
        | M::UdpStreamTimeoutLong
        | M::EstablishedTimeoutShort
        | M::TimeWaitTimeoutShort
        | M::CloseTimeoutLong
        | M::IcmpTimeoutShort => Kernel("conntrack-default-timeouts"),
        M::UdpStreamAtOnce => Kernel("conntrack-timeouts"),
        M::SynSentTimeoutShort => Kernel("nat-syn-retry"),
        // Routing and source validation
        M::SourceUnvalidated | M::StrictFilterLoose => Expectations("martian-source"),
        M::LoopbackRouted => Expectations("route-localnet-off"),
        M::ForwardingAlwaysOn => Expectations("forwarding-off"),
        M::RedirectsUnsent => Expectations("icmp-redirect"),
        M::RedirectPauseLong => Kernel("icmp-redirect"),
        M::RouteErrorsUnsent => Expectations("icmp-errors-limited"),
        M::TtlKept | M::TtlZeroForwarded => Expectations("ttl-expires"),
        // ARP
        M::ArpIgnoreUnread => Expectations("arp-ignore"),
        M::ArpAnnounceUnread => Kernel("arp-announce"),
        M::ArpAnswersForOwnDevice => Expectations("node-addresses"),
        M::ArpAskersUnlearned => Fuzz { seed: 0, clusters: 20 },
        M::ArpFailureSilent | M::ArpQueueHoldsOne => Expectations("neighbour-queue"),
        // Bridge
        M::HairpinAlwaysOn | M::BridgeNeverLearns | M::BridgedDnatPassedUp => Expectations("hairpin-off"),
        M::BridgeSkipsIptables => Expectations("hairpin-veth"),
        M::BridgedDnatTakesOwnMac => Kernel("internal-local"),
        // Matches and targets of iptables
        M::RecentSecondsIgnored => Expectations("session-affinity"),
        M::RecentSetOnce => Kernel("session-affinity-renewed"),
        M::RecentListShared => Expectations("session-affinity-per-service"),
        M::StatisticHalved => Expectations("clusterip-three-endpoints"),
        // REJECT
        M::RejectWithHostUnreachable => Expectations("clusterip-no-endpoints"),
        M::RejectResetTtl | M::RejectResetAcksShort | M::RejectResetLeavesOpen => {
            Expectations("reject-with-reset")
        }
        // TCP endpoints
        M::SynTimeoutLong => Expectations("hairpin-off"),
        // ICMP
        M::ErrorFromRouteSource => Expectations("icmp-error-source"),
        M::ErrorsAboutGroups => Expectations("reject-with-reset"),
        M::ErrorQuotesEightBytes | M::ErrorPrecedenceMissing => Kernel("ttl-expires"),
        M::ErrorUntracked => Expectations("ttl-expires"),
        M::ErrorsUnlimited => Expectations("icmp-errors-limited"),
        M::ErrorTokensSlow => Expectations("echo-replies-limited"),
        // Reassembly
        M::FragmentsUnassembled => Expectations("udp-fragments-reassembled-before-dnat"),
        M::FragmentSizesForgotten => Kernel("udp-fragments-reassembled-before-dnat"),
        M::FragmentOverlapKept => Expectations("fragments-missing"),
        // ipset
        M::IpsetTimeoutIgnored | M::IpsetNomatchIgnored | M::IpsetPortOfSource => Expectations("own-ipsets"),
        // Sysctls
        M::AllSettingUnread => Expectations("martian-source"),
        M::DeviceSettingUnread => Expectations("forwarding-off-one-device"),
        M::DefaultTtlUnread => Expectations("ip-default-ttl"),
        M::EchoIgnoreUnread => Expectations("icmp-echo-ignore-all"),
    }
}

/// The back end of iptables makes no difference to the simulator.
const AGAINST_KERNEL: [&str; 4] = ["--against", "kernel", "--backend", "legacy"];

/// A late machine may cause a difference, but not three times.
const RETRIES: &str = "2";

impl Judge {
    /// The command that judges. Its files go to `folder`.
    pub(crate) fn command(&self, folder: &Path) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hairpin"));
        match self {
            Expectations(scenario) => {
                command.args(["conformance", "--filter", &format!("name(={scenario})")]);
            }
            Kernel(scenario) => {
                command.args(["conformance", "--filter", &format!("name(={scenario})")]);
                command.args(["--retries", RETRIES]);
                command.args(AGAINST_KERNEL);
            }
            Fuzz { seed, clusters } => {
                let (seed, clusters) = (seed.to_string(), clusters.to_string());
                command.args(["fuzz", "--seed", &seed, "--runs", &clusters, "--shrink", "0"]);
                command.args(["--max-failures", "1", "--out"]).arg(folder).args(AGAINST_KERNEL);
            }
        }
        command
    }
}

impl fmt::Display for Judge {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Expectations(scenario) => write!(formatter, "expectations of {scenario}"),
            Kernel(scenario) => write!(formatter, "kernel, {scenario}"),
            Fuzz { seed, clusters } => write!(formatter, "kernel, {clusters} clusters of seed {seed}"),
        }
    }
}
