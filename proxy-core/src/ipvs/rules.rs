//! The iptables rules of IPVS mode. Their number depends on which sets have members, not on the number of Services.

use super::jumps::{FILTER_CHAINS, NAT_CHAINS};
use super::set_table::{SET_COUNT, SetId, Socket};
use crate::iptables::fixed::{write_forward_accept, write_masquerade};
use crate::iptables::matches::IfNotLocal;
use crate::iptables::rules::{Rules, TableRules};
use crate::load::Table;
use crate::objects::{IpFamily, Protocol};
use crate::plan::{Masquerade, NodePlan};

/// What the rules depend on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Inputs<'a> {
    pub(super) family: IpFamily,
    pub(super) node: &'a NodePlan,
    /// Which sets have members, by [`SetId`].
    pub(super) filled: [bool; SET_COUNT],
    /// Load balancer addresses that must not be used from the node itself.
    pub(super) closed_to_the_node: &'a [Socket],
}

/// A rule that exists while its set has members.
struct SetRule {
    table: Table,
    chain: &'static str,
    protocol: Option<Protocol>,
    set: SetId,
    /// Which address, port and address of the packet are looked up.
    directions: &'static str,
    target: &'static str,
}

const fn set_rule(
    (table, chain): (Table, &'static str),
    protocol: Option<Protocol>,
    set: SetId,
    directions: &'static str,
    target: &'static str,
) -> SetRule {
    SetRule { table, chain, protocol, set, directions, target }
}

const POSTROUTING: (Table, &str) = (Table::Nat, "KUBE-POSTROUTING");
const SERVICES: (Table, &str) = (Table::Nat, "KUBE-SERVICES");
const LOAD_BALANCER: (Table, &str) = (Table::Nat, "KUBE-LOAD-BALANCER");
const NODE_PORT: (Table, &str) = (Table::Nat, "KUBE-NODE-PORT");
const PROXY_FIREWALL: (Table, &str) = (Table::Filter, "KUBE-PROXY-FIREWALL");
const SOURCE_RANGES: (Table, &str) = (Table::Filter, "KUBE-SOURCE-RANGES-FIREWALL");

const TCP: Option<Protocol> = Some(Protocol::Tcp);
const UDP: Option<Protocol> = Some(Protocol::Udp);
const SCTP: Option<Protocol> = Some(Protocol::Sctp);

/// kube-proxy: `ipsetWithIptablesChain`, pkg/proxy/ipvs/proxier.go. What keeps the source address (policy Local) must
/// return before the rest is marked.
const SET_RULES: [SetRule; 12] = [
    set_rule(POSTROUTING, None, SetId::LoopBack, "dst,dst,src", "MASQUERADE"),
    set_rule(SERVICES, None, SetId::LoadBalancer, "dst,dst", "KUBE-LOAD-BALANCER"),
    set_rule(LOAD_BALANCER, None, SetId::LoadBalancerLocal, "dst,dst", "RETURN"),
    set_rule(NODE_PORT, TCP, SetId::NodePortLocalTcp, "dst", "RETURN"),
    set_rule(NODE_PORT, TCP, SetId::NodePortTcp, "dst", "KUBE-MARK-MASQ"),
    set_rule(NODE_PORT, UDP, SetId::NodePortLocalUdp, "dst", "RETURN"),
    set_rule(NODE_PORT, UDP, SetId::NodePortUdp, "dst", "KUBE-MARK-MASQ"),
    set_rule(NODE_PORT, SCTP, SetId::NodePortLocalSctp, "dst,dst", "RETURN"),
    set_rule(NODE_PORT, SCTP, SetId::NodePortSctp, "dst,dst", "KUBE-MARK-MASQ"),
    set_rule(PROXY_FIREWALL, None, SetId::LoadBalancerFw, "dst,dst", "KUBE-SOURCE-RANGES-FIREWALL"),
    set_rule(SOURCE_RANGES, None, SetId::LoadBalancerSourceCidr, "dst,dst,src", "RETURN"),
    set_rule(SOURCE_RANGES, None, SetId::LoadBalancerSourceIp, "dst,dst,src", "RETURN"),
];

/// The chains and rules: nat, then filter.
///
/// kube-proxy: `writeIptablesRules`, pkg/proxy/ipvs/proxier.go.
pub(super) fn tables(inputs: &Inputs<'_>) -> [TableRules; 2] {
    let mut nat = TableRules::with_capacity(Table::Nat, 4096);
    nat.declare(NAT_CHAINS);
    let mut filter = TableRules::with_capacity(Table::Filter, 4096);
    filter.declare(FILTER_CHAINS);
    let loopback = match inputs.family {
        IpFamily::V4 => "127.0.0.0/8",
        IpFamily::V6 => "::1/128",
    };
    nat.rules.push("KUBE-SERVICES", format_args!("-s {loopback} -j RETURN"));
    for rule in SET_RULES.iter().filter(|rule| inputs.has(rule.set)) {
        let rules = match rule.table {
            Table::Nat => &mut nat.rules,
            Table::Filter => &mut filter.rules,
        };
        rule.write(rules, inputs.family);
    }
    inputs.write_nat(&mut nat.rules);
    inputs.write_filter(&mut filter.rules);
    [nat, filter]
}

impl SetRule {
    fn write(&self, rules: &mut Rules, family: IpFamily) {
        let Self { chain, protocol, set, directions, target, .. } = self;
        let protocol = protocol.map_or(String::new(), |protocol| format!("-p {} ", protocol.lower()));
        let matches = commented_match(*set, family);
        rules.push(chain, format_args!("{protocol}{matches} {directions} -j {target}"));
    }
}

fn commented_match(set: SetId, family: IpFamily) -> String {
    format!("-m comment --comment \"{}\" -m set --match-set {}", set.comment(), set.name(family))
}

impl Inputs<'_> {
    fn has(&self, set: SetId) -> bool {
        self.filled[set as usize]
    }

    fn write_nat(&self, nat: &mut Rules) {
        if self.has(SetId::ClusterIp) {
            self.write_cluster_ip_masquerade(nat);
        }
        if self.has(SetId::ExternalIp) {
            let set = commented_match(SetId::ExternalIp, self.family);
            nat.push("KUBE-SERVICES", format_args!("{set} dst,dst -j KUBE-MARK-MASQ"));
            write_external_ip(nat, &set);
        }
        if self.has(SetId::ExternalIpLocal) {
            write_external_ip(nat, &commented_match(SetId::ExternalIpLocal, self.family));
        }
        nat.push("KUBE-SERVICES", format_args!("-m addrtype --dst-type LOCAL -j KUBE-NODE-PORT"));
        nat.push("KUBE-LOAD-BALANCER", format_args!("-j KUBE-MARK-MASQ"));
        // Ends the chains of PREROUTING and OUTPUT for Service traffic, so that no later rule translates it before IPVS
        // does. The address of such a packet is local, which portmap rules for host ports look for.
        for set in [SetId::ClusterIp, SetId::LoadBalancer].into_iter().filter(|set| self.has(*set)) {
            let name = set.name(self.family);
            nat.push("KUBE-SERVICES", format_args!("-m set --match-set {name} dst,dst -j ACCEPT"));
        }
        write_masquerade(nat, self.node);
    }

    fn write_cluster_ip_masquerade(&self, nat: &mut Rules) {
        let set = commented_match(SetId::ClusterIp, self.family);
        let rule = match (self.node.internal_masquerade, &self.node.local_traffic) {
            (Masquerade::Always, _) => format!("{set} dst,dst"),
            (Masquerade::UnlessFromPods, Some(local)) => format!("{set} dst,dst {}", IfNotLocal(local)),
            // Only what the node itself sends: the address of kube-ipvs0 that is the destination is also the source.
            (Masquerade::UnlessFromPods, None) | (Masquerade::Never, _) => format!("{set} src,dst"),
        };
        nat.push("KUBE-SERVICES", format_args!("{rule} -j KUBE-MARK-MASQ"));
    }

    fn write_filter(&self, filter: &mut Rules) {
        filter.push("KUBE-SOURCE-RANGES-FIREWALL", format_args!("-j DROP"));
        for Socket { address, protocol, port } in self.closed_to_the_node {
            let protocol = protocol.lower();
            let service = format!("-m ipvs --vaddr {address} --vproto {protocol} --vport {port}");
            filter.push("KUBE-IPVS-OUT-FILTER", format_args!("-s {address} {service} -j DROP"));
        }
        write_forward_accept(filter, self.node);
        let health = commented_match(SetId::HealthCheckNodePort, self.family);
        filter.push("KUBE-NODE-PORT", format_args!("{health} dst -j ACCEPT"));
        self.write_access_filter(filter);
    }

    /// Lets connections to VIPs pass at the ports of Services only: a VIP is an address of the node, so without these
    /// rules it would reach everything that listens on all addresses. kubernetes#72236.
    fn write_access_filter(&self, filter: &mut Rules) {
        const CHAIN: &str = "KUBE-IPVS-FILTER";
        let admitted = [
            (SetId::LoadBalancer, "dst,dst"),
            (SetId::ClusterIp, "dst,dst"),
            (SetId::ExternalIp, "dst,dst"),
            (SetId::ExternalIpLocal, "dst,dst"),
            (SetId::HealthCheckNodePort, "dst"),
        ];
        for (set, directions) in admitted {
            let name = set.name(self.family);
            filter.push(CHAIN, format_args!("-m set --match-set {name} {directions} -j RETURN"));
        }
        let bound = SetId::IpvsIps.name(self.family);
        filter
            .push(CHAIN, format_args!("-m conntrack --ctstate NEW -m set --match-set {bound} dst -j REJECT"));
    }
}

/// Ends the chain for external IPs in traffic from other machines, and for those that are local addresses. In other
/// traffic of Pods and of the node, an external IP may really be a host outside.
fn write_external_ip(nat: &mut Rules, set: &str) {
    let from_outside = "-m physdev ! --physdev-is-in -m addrtype ! --src-type LOCAL";
    nat.push("KUBE-SERVICES", format_args!("{set} dst,dst {from_outside} -j ACCEPT"));
    nat.push("KUBE-SERVICES", format_args!("{set} dst,dst -m addrtype --dst-type LOCAL -j ACCEPT"));
}
