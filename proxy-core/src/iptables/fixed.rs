//! Chains that exist regardless of Services, with their fixed rules.

use super::rules::{Rules, TableRules};
use crate::objects::IpFamily;
use crate::plan::{NodePlan, NodePortAddresses};

const FILTER_CHAINS: [&str; 5] =
    ["KUBE-SERVICES", "KUBE-EXTERNAL-SERVICES", "KUBE-FORWARD", "KUBE-NODEPORTS", "KUBE-PROXY-FIREWALL"];

/// Protects listeners on 127.0.0.0/8. The jumps to it always exist.
pub(super) const LOCALHOST_GUARD: &str = "KUBE-FIREWALL";

const NAT_CHAINS: [&str; 4] = ["KUBE-SERVICES", "KUBE-NODEPORTS", "KUBE-POSTROUTING", "KUBE-MARK-MASQ"];

/// Declares the fixed chains of the filter table.
pub(super) fn declare_filter(filter: &mut TableRules, node: &NodePlan, family: IpFamily) {
    filter.declare(FILTER_CHAINS);
    filter.declare(guards_localhost(node, family).then_some(LOCALHOST_GUARD));
}

/// Declares the fixed chains of the nat table.
pub(super) fn declare_nat(nat: &mut TableRules) {
    nat.declare(NAT_CHAINS);
}

/// Writes the fixed rules of the filter table.
pub(super) fn write_filter(rules: &mut Rules, node: &NodePlan, family: IpFamily) {
    if guards_localhost(node, family) {
        // route_localnet lets neighbours reach services on 127.0.0.1, CVE-2020-8558. The kubelet writes the same rule.
        let comment = "-m comment --comment \"block incoming localnet connections\"";
        let state = "-m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT";
        rules
            .push(LOCALHOST_GUARD, format_args!("{comment} -d 127.0.0.0/8 ! -s 127.0.0.0/8 {state} -j DROP"));
    }
    write_forward(rules, node);
}

/// Writes the rules that masquerade marked packets and set the mark; the same in every mode that uses iptables.
pub(crate) fn write_masquerade(rules: &mut Rules, node: &NodePlan) {
    let mark = Mark(node.masquerade_mark);
    let random = if node.random_fully { " --random-fully" } else { "" };
    rules.push("KUBE-POSTROUTING", format_args!("-m mark ! --mark {mark}/{mark} -j RETURN"));
    // Clears the mark, so that a packet that traverses the stack again is not masqueraded twice.
    rules.push("KUBE-POSTROUTING", format_args!("-j MARK --xor-mark {mark}"));
    let comment = "-m comment --comment \"kubernetes service traffic requiring SNAT\"";
    rules.push("KUBE-POSTROUTING", format_args!("{comment} -j MASQUERADE{random}"));
    rules.push("KUBE-MARK-MASQ", format_args!("-j MARK --or-mark {mark}"));
}

fn guards_localhost(node: &NodePlan, family: IpFamily) -> bool {
    family == IpFamily::V4 && node.localhost_node_ports
}

fn write_forward(rules: &mut Rules, node: &NodePlan) {
    if node.drops_invalid {
        // INVALID packets are not translated back: one would reach the client with the Pod's address and cause a reset,
        // kubernetes#74839.
        let counter =
            if node.has_nfacct { " -m nfacct --nfacct-name ct_state_invalid_dropped_pkts" } else { "" };
        rules.push("KUBE-FORWARD", format_args!("-m conntrack --ctstate INVALID{counter} -j DROP"));
    }
    write_forward_accept(rules, node);
}

/// Writes the rules that forward Service traffic if the policy of FORWARD is DROP; the same in every mode that uses
/// iptables.
pub(crate) fn write_forward_accept(rules: &mut Rules, node: &NodePlan) {
    let mark = Mark(node.masquerade_mark);
    let comment = "-m comment --comment \"kubernetes forwarding rules\"";
    rules.push("KUBE-FORWARD", format_args!("{comment} -m mark --mark {mark}/{mark} -j ACCEPT"));
    let comment = "-m comment --comment \"kubernetes forwarding conntrack rule\"";
    rules
        .push("KUBE-FORWARD", format_args!("{comment} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"));
}

/// Writes the jump to NodePorts, which must be the last rule of KUBE-SERVICES.
pub(super) fn write_node_port_tail(rules: &mut Rules, node: &NodePlan, family: IpFamily) {
    const COMMENT: &str = concat!(
        "-m comment --comment ",
        "\"kubernetes service nodeports; NOTE: this must be the last rule in this chain\""
    );
    match &node.node_port_addresses {
        NodePortAddresses::AllLocal => {
            // The kernel has no route_localnet for IPv6, so ::1 cannot work.
            let except = match family {
                IpFamily::V6 => " ! -d ::1/128",
                IpFamily::V4 if node.localhost_node_ports => "",
                IpFamily::V4 => " ! -d 127.0.0.0/8",
            };
            rules.push(
                "KUBE-SERVICES",
                format_args!("{COMMENT} -m addrtype --dst-type LOCAL{except} -j KUBE-NODEPORTS"),
            );
        }
        NodePortAddresses::Only(addresses) => {
            for address in addresses.iter().filter(|ip| !ip.is_loopback() || guards_localhost(node, family)) {
                rules.push("KUBE-SERVICES", format_args!("{COMMENT} -d {address} -j KUBE-NODEPORTS"));
            }
        }
    }
}

/// A packet mark as kube-proxy prints it (Go's `%#08x`).
struct Mark(u32);

impl std::fmt::Display for Mark {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{:#010x}", self.0)
    }
}
