//! The jumps from the built-in chains.

use super::Table;
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
const PORTALS: &str = "kubernetes service portals";
const FIREWALL: &str = "kubernetes load balancer firewall";

/// In the order in which kube-proxy ensures them: `iptablesJumpChains`, then `iptablesKubeletJumpChains`,
/// pkg/proxy/iptables/proxier.go.
#[rustfmt::skip]
const JUMPS: [Jump; 14] = [
    // Refuse what no endpoint serves. Not on OUTPUT: so it is upstream, too.
    Jump { table: Table::Filter, from: "INPUT", to: "KUBE-EXTERNAL-SERVICES", only_new: true, comment: EXTERNAL },
    Jump { table: Table::Filter, from: "FORWARD", to: "KUBE-EXTERNAL-SERVICES", only_new: true, comment: EXTERNAL },
    // Let health checks of load balancers in.
    Jump { table: Table::Filter, from: "INPUT", to: "KUBE-NODEPORTS", only_new: false, comment: "kubernetes health check service ports" },
    // Refuse ClusterIPs that no endpoint serves: those with one were rewritten before the filter table.
    Jump { table: Table::Filter, from: "FORWARD", to: "KUBE-SERVICES", only_new: true, comment: PORTALS },
    Jump { table: Table::Filter, from: "OUTPUT", to: "KUBE-SERVICES", only_new: true, comment: PORTALS },
    // Forward Service traffic where the policy of FORWARD is DROP.
    Jump { table: Table::Filter, from: "FORWARD", to: "KUBE-FORWARD", only_new: false, comment: "kubernetes forwarding rules" },
    // Drop what loadBalancerSourceRanges did not let through.
    Jump { table: Table::Filter, from: "INPUT", to: "KUBE-PROXY-FIREWALL", only_new: true, comment: FIREWALL },
    Jump { table: Table::Filter, from: "OUTPUT", to: "KUBE-PROXY-FIREWALL", only_new: true, comment: FIREWALL },
    Jump { table: Table::Filter, from: "FORWARD", to: "KUBE-PROXY-FIREWALL", only_new: true, comment: FIREWALL },
    // Send Service traffic to endpoints.
    Jump { table: Table::Nat, from: "OUTPUT", to: "KUBE-SERVICES", only_new: false, comment: PORTALS },
    Jump { table: Table::Nat, from: "PREROUTING", to: "KUBE-SERVICES", only_new: false, comment: PORTALS },
    Jump { table: Table::Nat, from: "POSTROUTING", to: "KUBE-POSTROUTING", only_new: false, comment: "kubernetes postrouting rules" },
    // The guard of 127.0.0.0/8, shared with the kubelet. Made in both families, filled in one.
    Jump { table: Table::Filter, from: "INPUT", to: "KUBE-FIREWALL", only_new: false, comment: "" },
    Jump { table: Table::Filter, from: "OUTPUT", to: "KUBE-FIREWALL", only_new: false, comment: "" },
];

/// The commands that make every jump and, before it, the chain that it leads to.
pub(super) fn commands(family: IpFamily) -> Vec<String> {
    let tool = match family {
        IpFamily::V4 => "iptables",
        IpFamily::V6 => "ip6tables",
    };
    let mut commands = Vec::with_capacity(2 * JUMPS.len());
    for Jump { table, from, to, only_new, comment } in &JUMPS {
        let state = if *only_new { " -m conntrack --ctstate NEW" } else { "" };
        let comment =
            if comment.is_empty() { String::new() } else { format!(" -m comment --comment \"{comment}\"") };
        commands.push(format!("{tool} -t {table} -N {to}"));
        commands.push(format!("{tool} -t {table} -I {from}{state}{comment} -j {to}"));
    }
    commands
}
