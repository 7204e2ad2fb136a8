//! Chains, and the jumps to them from the built-in chains.

use crate::load::{Ensure, Table};
use crate::objects::IpFamily;

/// The chains of nat, in the order in which kube-proxy creates them: `iptablesChains`, pkg/proxy/ipvs/proxier.go.
pub(super) const NAT_CHAINS: [&str; 5] =
    ["KUBE-SERVICES", "KUBE-POSTROUTING", "KUBE-NODE-PORT", "KUBE-LOAD-BALANCER", "KUBE-MARK-MASQ"];

/// The chains of filter, likewise.
pub(super) const FILTER_CHAINS: [&str; 6] = [
    "KUBE-FORWARD",
    "KUBE-NODE-PORT",
    "KUBE-PROXY-FIREWALL",
    "KUBE-SOURCE-RANGES-FIREWALL",
    "KUBE-IPVS-FILTER",
    "KUBE-IPVS-OUT-FILTER",
];

/// One jump. Each is inserted at the head of its built-in chain, so the last one inserted comes first.
struct Jump {
    table: Table,
    from: &'static str,
    to: &'static str,
    comment: &'static str,
}

const fn jump(table: Table, from: &'static str, to: &'static str, comment: &'static str) -> Jump {
    Jump { table, from, to, comment }
}

/// In the order in which kube-proxy ensures them: `iptablesJumpChain`, pkg/proxy/ipvs/proxier.go.
const JUMPS: [Jump; 9] = [
    // Marks what must be masqueraded. IPVS itself chooses the endpoint later, in INPUT or OUTPUT.
    jump(Table::Nat, "OUTPUT", "KUBE-SERVICES", "kubernetes service portals"),
    jump(Table::Nat, "PREROUTING", "KUBE-SERVICES", "kubernetes service portals"),
    jump(Table::Nat, "POSTROUTING", "KUBE-POSTROUTING", "kubernetes postrouting rules"),
    // Forwards Service traffic if the policy of FORWARD is DROP.
    jump(Table::Filter, "FORWARD", "KUBE-FORWARD", "kubernetes forwarding rules"),
    // Accepts load balancer health checks.
    jump(Table::Filter, "INPUT", "KUBE-NODE-PORT", "kubernetes health check rules"),
    // Drops what loadBalancerSourceRanges does not admit.
    jump(Table::Filter, "INPUT", "KUBE-PROXY-FIREWALL", "kube-proxy firewall rules"),
    jump(Table::Filter, "FORWARD", "KUBE-PROXY-FIREWALL", "kube-proxy firewall rules"),
    // Rejects connections to the node's own services through a VIP.
    jump(Table::Filter, "INPUT", "KUBE-IPVS-FILTER", "kubernetes ipvs access filter"),
    // The same as KUBE-PROXY-FIREWALL, for the node itself.
    jump(Table::Filter, "OUTPUT", "KUBE-IPVS-OUT-FILTER", "kubernetes ipvs access filter"),
];

/// Every chain, then every jump.
pub(super) fn ensured(family: IpFamily) -> impl Iterator<Item = Ensure> {
    let chains_of = move |table, chains: &'static [&'static str]| {
        chains.iter().map(move |chain| Ensure::Chain { family, table, chain })
    };
    let jumps = JUMPS.iter().map(move |Jump { table, from, to, comment }| Ensure::Jump {
        family,
        table: *table,
        from,
        rule: format!("-m comment --comment \"{comment}\" -j {to}"),
    });
    chains_of(Table::Nat, &NAT_CHAINS).chain(chains_of(Table::Filter, &FILTER_CHAINS)).chain(jumps)
}
