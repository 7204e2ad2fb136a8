//! IPVS mode: the plan as virtual services, IP sets, addresses of a dummy device and a few iptables rules.
//!
//! IPVS chooses the endpoint and translates the destination. iptables does the rest, for all Services at once: sets say
//! to which packets a rule applies. Every VIP is an address of the device `kube-ipvs0`, because IPVS sees only packets
//! that are delivered to the node itself or sent by it.
//!
//! Rules, sets and virtual services follow kube-proxy's IPVS mode, pkg/proxy/ipvs. That code visits Services,
//! endpoints and addresses in arbitrary order; here the order is that of names and addresses.

mod addresses;
mod claims;
pub mod diff;
mod jumps;
mod members;
mod rules;
mod services;
mod set_table;
mod sets;
mod sync;

use members::closed_to_the_node;
use rules::Inputs;
use set_table::SetId;
use sets::Sets;

pub use addresses::DEVICE;
pub use services::VirtualService;
pub use sync::{DRAIN_INTERVAL, NodeState, RealServer};

use crate::iptables::restore_tool;
use crate::iptables::rules::{Chain, RestoreText};
use crate::load::{Ensure, Load, Tool};
use crate::plan::{IpvsNode, Plan};

/// Everything that a node loads for this plan, starting without sets, virtual services and `kube-ipvs0`. The conntrack
/// settings common to all modes precede it.
///
/// Sets exist before rules refer to them, and a virtual service before its address is bound: until then, the node would
/// deliver packets to the VIP to its own processes.
pub fn load(plan: &Plan) -> impl Iterator<Item = Load> {
    let Texts { ipset, ipvs, addresses, iptables } = texts(plan);
    let texts = [
        (Tool::IpsetRestore, ipset),
        (Tool::IpvsadmRestore, ipvs),
        (Tool::IpBatch, addresses),
        (restore_tool(plan.family), iptables),
    ];
    let texts = texts.into_iter().map(|(tool, text)| Load::Text { tool, text });
    let ensured = jumps::ensured(plan.family).chain([Ensure::Device { device: DEVICE }]).map(Load::Ensure);
    sysctls(&plan.node.ipvs).chain(ensured).chain(texts)
}

/// The texts of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Texts {
    /// Input of `ipset restore`.
    pub ipset: String,
    /// Input of `ipvsadm --restore`.
    pub ipvs: String,
    /// Input of `ip -batch`: the addresses of `kube-ipvs0`.
    pub addresses: String,
    /// Input of `iptables-restore --noflush` or `ip6tables-restore`.
    pub iptables: String,
}

/// The texts that a node loads for this plan.
pub fn texts(plan: &Plan) -> Texts {
    let sets = Sets::new(plan);
    let closed: Vec<_> = plan.services.values().flat_map(|service| closed_to_the_node(service)).collect();
    let inputs =
        Inputs { family: plan.family, node: &plan.node, filled: sets.filled(), closed_to_the_node: &closed };
    Texts {
        ipset: sets.restore(),
        ipvs: services::restore(plan),
        addresses: addresses::batch("add", sets.members(SetId::IpvsIps)),
        iptables: iptables_text(&inputs),
    }
}

/// All rules as restore input.
fn iptables_text(inputs: &Inputs<'_>) -> String {
    let mut text = RestoreText::default();
    for table in &rules::tables(inputs) {
        text.table(table.table, table.chains.iter().map(Chain::as_str), [table.rules.as_str()]);
    }
    text.into_string()
}

/// The sysctls that kube-proxy sets at start, in its order: `NewProxier`, pkg/proxy/ipvs/proxier.go.
///
/// On kernels before 5.9 it also sets `net.ipv4.vs.conn_reuse_mode` to 0; later kernels keep their default.
fn sysctls(node: &IpvsNode) -> impl Iterator<Item = Load> {
    const ALWAYS: [(&str, &str); 4] = [
        // IPVS connections have conntrack entries, which masquerade needs.
        ("net.ipv4.vs.conntrack", "1"),
        // A connection whose server was removed ends with its next packet, not when its timer expires.
        ("net.ipv4.vs.expire_nodest_conn", "1"),
        // A client leaves a server of weight 0 in spite of persistence.
        ("net.ipv4.vs.expire_quiescent_template", "1"),
        ("net.ipv4.ip_forward", "1"),
    ];
    const STRICT_ARP: [(&str, &str); 2] =
        [("net.ipv4.conf.all.arp_ignore", "1"), ("net.ipv4.conf.all.arp_announce", "2")];
    let strict_arp = node.strict_arp.then_some(STRICT_ARP).into_iter().flatten();
    ALWAYS
        .into_iter()
        .chain(strict_arp)
        .map(|(name, value)| Load::Sysctl { name: name.to_owned(), value: value.to_owned() })
}
