//! The jumps from the built-in chains.

use crate::load::{Ensure, Table};
use crate::objects::IpFamily;

/// One jump. It is put before all rules of its built-in chain when it is made, so the last one stands first.
struct Jump {
    table: Table,
    from: &'static str,
    to: &'static str,
    /// Only the first packet of a connection has to be looked at: the verdict on the others follows from it.
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
    // Refuse what no endpoint serves. Not on OUTPUT: so it is upstream, too.
    new_connections("INPUT", "KUBE-EXTERNAL-SERVICES", EXTERNAL),
    new_connections("FORWARD", "KUBE-EXTERNAL-SERVICES", EXTERNAL),
    // Let health checks of load balancers in.
    all_packets(Table::Filter, "INPUT", "KUBE-NODEPORTS", HEALTH),
    // Refuse ClusterIPs that no endpoint serves: those with one were rewritten before the filter table.
    new_connections("FORWARD", "KUBE-SERVICES", PORTALS),
    new_connections("OUTPUT", "KUBE-SERVICES", PORTALS),
    // Forward Service traffic where the policy of FORWARD is DROP.
    all_packets(Table::Filter, "FORWARD", "KUBE-FORWARD", FORWARDING),
    // Drop what loadBalancerSourceRanges did not let through.
    new_connections("INPUT", "KUBE-PROXY-FIREWALL", FIREWALL),
    new_connections("OUTPUT", "KUBE-PROXY-FIREWALL", FIREWALL),
    new_connections("FORWARD", "KUBE-PROXY-FIREWALL", FIREWALL),
    // Send Service traffic to endpoints.
    all_packets(Table::Nat, "OUTPUT", "KUBE-SERVICES", PORTALS),
    all_packets(Table::Nat, "PREROUTING", "KUBE-SERVICES", PORTALS),
    all_packets(Table::Nat, "POSTROUTING", "KUBE-POSTROUTING", POSTROUTING),
    // The guard of 127.0.0.0/8, shared with the kubelet. Made in both families, filled in one.
    all_packets(Table::Filter, "INPUT", "KUBE-FIREWALL", ""),
    all_packets(Table::Filter, "OUTPUT", "KUBE-FIREWALL", ""),
];

/// Every jump and, before it, the chain that it leads to.
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
