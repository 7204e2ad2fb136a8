//! Jumps from the built-in chains.

use crate::load::{Ensure, Table};
use crate::objects::IpFamily;

/// One jump. Each is inserted at the head of its built-in chain, so the last one inserted comes first.
struct Jump {
    table: Table,
    from: &'static str,
    to: &'static str,
    /// Matches only the first packet of a connection: its verdict applies to the later ones.
    only_new: bool,
    comment: &'static str,
}

const EXTERNAL: &str = "kubernetes externally-visible service portals";
const HEALTH: &str = "kubernetes health check service ports";
const PORTALS: &str = "kubernetes service portals";
const FORWARDING: &str = "kubernetes forwarding rules";
const FIREWALL: &str = "kubernetes load balancer firewall";
const POSTROUTING: &str = "kubernetes postrouting rules";

const fn new_connections(from: &'static str, to: &'static str, comment: &'static str) -> Jump {
    Jump { table: Table::Filter, from, to, only_new: true, comment }
}

const fn all_packets(table: Table, from: &'static str, to: &'static str, comment: &'static str) -> Jump {
    Jump { table, from, to, only_new: false, comment }
}

/// In the order in which kube-proxy ensures them: `iptablesJumpChains`, then `iptablesKubeletJumpChains`,
/// pkg/proxy/iptables/proxier.go.
const JUMPS: [Jump; 14] = [
    // Rejects traffic without endpoints. Not in OUTPUT, as upstream.
    new_connections("INPUT", "KUBE-EXTERNAL-SERVICES", EXTERNAL),
    new_connections("FORWARD", "KUBE-EXTERNAL-SERVICES", EXTERNAL),
    // Accepts load balancer health checks.
    all_packets(Table::Filter, "INPUT", "KUBE-NODEPORTS", HEALTH),
    // Rejects ClusterIPs without endpoints: the others were translated before the filter table.
    new_connections("FORWARD", "KUBE-SERVICES", PORTALS),
    new_connections("OUTPUT", "KUBE-SERVICES", PORTALS),
    // Forwards Service traffic if the policy of FORWARD is DROP.
    all_packets(Table::Filter, "FORWARD", "KUBE-FORWARD", FORWARDING),
    // Drops traffic that loadBalancerSourceRanges did not accept.
    new_connections("INPUT", "KUBE-PROXY-FIREWALL", FIREWALL),
    new_connections("OUTPUT", "KUBE-PROXY-FIREWALL", FIREWALL),
    new_connections("FORWARD", "KUBE-PROXY-FIREWALL", FIREWALL),
    // Sends Service traffic to endpoints.
    all_packets(Table::Nat, "OUTPUT", "KUBE-SERVICES", PORTALS),
    all_packets(Table::Nat, "PREROUTING", "KUBE-SERVICES", PORTALS),
    all_packets(Table::Nat, "POSTROUTING", "KUBE-POSTROUTING", POSTROUTING),
    // Protects 127.0.0.0/8; shared with the kubelet. Created in both families, filled in one.
    all_packets(Table::Filter, "INPUT", "KUBE-FIREWALL", ""),
    all_packets(Table::Filter, "OUTPUT", "KUBE-FIREWALL", ""),
];

/// Every jump, preceded by its chain.
pub(super) fn ensured(family: IpFamily) -> impl Iterator<Item = Ensure> {
    JUMPS.iter().flat_map(move |jump| {
        let Jump { table, from, to, .. } = *jump;
        [Ensure::Chain { family, table, chain: to }, Ensure::Jump { family, table, from, rule: jump.rule() }]
    })
}

impl Jump {
    /// Matches and target.
    fn rule(&self) -> String {
        let state = if self.only_new { "-m conntrack --ctstate NEW " } else { "" };
        let comment = match self.comment {
            "" => String::new(),
            comment => format!("-m comment --comment \"{comment}\" "),
        };
        format!("{state}{comment}-j {}", self.to)
    }
}
