//! Chains that are there whatever the Services, with the rules of their own.

use super::lines::Lines;
use crate::objects::IpFamily;
use crate::plan::{NodePlan, NodePortAddresses};

const FILTER_CHAINS: [&str; 5] =
    ["KUBE-SERVICES", "KUBE-EXTERNAL-SERVICES", "KUBE-FORWARD", "KUBE-NODEPORTS", "KUBE-PROXY-FIREWALL"];

const NAT_CHAINS: [&str; 4] = ["KUBE-SERVICES", "KUBE-NODEPORTS", "KUBE-POSTROUTING", "KUBE-MARK-MASQ"];

/// Declares the fixed chains of the filter table.
pub(super) fn declare_filter(text: &mut Lines, node: &NodePlan, family: IpFamily) {
    let guard = guards_localhost(node, family).then_some("KUBE-FIREWALL");
    for chain in FILTER_CHAINS.into_iter().chain(guard) {
        text.concat(&[&[":", chain, " - [0:0]"]]);
    }
}

/// Declares the fixed chains of the nat table.
pub(super) fn declare_nat(text: &mut Lines) {
    for chain in NAT_CHAINS {
        text.concat(&[&[":", chain, " - [0:0]"]]);
    }
}

/// Writes the fixed rules of the filter table.
pub(super) fn write_filter(text: &mut Lines, node: &NodePlan, family: IpFamily) {
    if guards_localhost(node, family) {
        // route_localnet lets neighbours reach what listens on 127.0.0.1, CVE-2020-8558. The kubelet writes
        // the same.
        text.push_text(concat!(
            "-A KUBE-FIREWALL -m comment --comment \"block incoming localnet connections\" -d 127.0.0.0/8 ",
            "! -s 127.0.0.0/8 -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP\n"
        ));
    }
    write_forward(text, node);
}

/// Writes the fixed rules of the nat table, but for the last one.
pub(super) fn write_nat(text: &mut Lines, node: &NodePlan) {
    let mark = Mark(node.masquerade_mark);
    let random = if node.random_fully { " --random-fully" } else { "" };
    text.push(format_args!("-A KUBE-POSTROUTING -m mark ! --mark {mark}/{mark} -j RETURN"));
    // Cleared, so that a packet that passes the stack a second time is not masqueraded again.
    text.push(format_args!("-A KUBE-POSTROUTING -j MARK --xor-mark {mark}"));
    let comment = "-m comment --comment \"kubernetes service traffic requiring SNAT\"";
    text.push(format_args!("-A KUBE-POSTROUTING {comment} -j MASQUERADE{random}"));
    text.push(format_args!("-A KUBE-MARK-MASQ -j MARK --or-mark {mark}"));
}

fn guards_localhost(node: &NodePlan, family: IpFamily) -> bool {
    family == IpFamily::V4 && node.localhost_node_ports
}

fn write_forward(text: &mut Lines, node: &NodePlan) {
    if node.drops_invalid {
        // A packet that conntrack does not understand is not un-NATed: it would reach the client with the
        // pod's address and make it reset the connection, kubernetes#74839.
        let counter =
            if node.has_nfacct { " -m nfacct --nfacct-name ct_state_invalid_dropped_pkts" } else { "" };
        text.push(format_args!("-A KUBE-FORWARD -m conntrack --ctstate INVALID{counter} -j DROP"));
    }
    let mark = Mark(node.masquerade_mark);
    let comment = "-m comment --comment \"kubernetes forwarding rules\"";
    text.push(format_args!("-A KUBE-FORWARD {comment} -m mark --mark {mark}/{mark} -j ACCEPT"));
    text.push_text(concat!(
        "-A KUBE-FORWARD -m comment --comment \"kubernetes forwarding conntrack rule\" ",
        "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n"
    ));
}

/// Writes the jump to NodePorts, which must be the last rule of KUBE-SERVICES.
pub(super) fn write_node_port_tail(text: &mut Lines, node: &NodePlan, family: IpFamily) {
    const HEAD: &str = concat!(
        "-A KUBE-SERVICES -m comment --comment ",
        "\"kubernetes service nodeports; NOTE: this must be the last rule in this chain\""
    );
    match &node.node_port_addresses {
        NodePortAddresses::AllLocal => {
            // The kernel has no route_localnet for IPv6, so ::1 can never work.
            let except = match family {
                IpFamily::V6 => " ! -d ::1/128",
                IpFamily::V4 if node.localhost_node_ports => "",
                IpFamily::V4 => " ! -d 127.0.0.0/8",
            };
            text.push(format_args!("{HEAD} -m addrtype --dst-type LOCAL{except} -j KUBE-NODEPORTS"));
        }
        NodePortAddresses::Only(addresses) => {
            for address in addresses.iter().filter(|ip| !ip.is_loopback() || guards_localhost(node, family)) {
                text.push(format_args!("{HEAD} -d {address} -j KUBE-NODEPORTS"));
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
