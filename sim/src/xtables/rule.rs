//! Rules: conditions and a target.

use super::matches::Match;
use super::targets::Target;
use super::value::{AddrMask, DeviceMatch, print_addr_mask, print_device_name, protocol_name};
use crate::ipset::SetId;
use crate::trace::RuleSource;
use std::fmt::Write as _;
use std::sync::Arc;

/// The part common to all rules (`struct ipt_ip`, include/uapi/linux/netfilter_ipv4/ip_tables.h).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct IpPart {
    pub(super) src: AddrMask,
    pub(super) dst: AddrMask,
    pub(super) in_device: Option<Box<DeviceMatch>>,
    pub(super) out_device: Option<Box<DeviceMatch>>,
    /// Zero is any.
    pub(super) protocol: u8,
    pub(super) src_inverted: bool,
    pub(super) dst_inverted: bool,
    pub(super) protocol_inverted: bool,
    /// `-f`: fragments after the first; `Some(true)` is `! -f`.
    pub(super) fragment: Option<bool>,
}

impl Default for IpPart {
    fn default() -> Self {
        Self {
            src: AddrMask::Any,
            dst: AddrMask::Any,
            in_device: None,
            out_device: None,
            protocol: 0,
            src_inverted: false,
            dst_inverted: false,
            protocol_inverted: false,
            fragment: None,
        }
    }
}

/// The content of a rule, without its location.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RuleSpec {
    pub(super) ip: IpPart,
    /// In text order, which is the order of evaluation.
    pub(super) matches: Box<[Match]>,
    pub(super) target: Target,
}

/// A rule in a chain.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub(super) spec: RuleSpec,
    /// False if every packet meets [`RuleSpec::ip`], which is the case for most rules (`unconditional`,
    /// net/ipv4/netfilter/ip_tables.c).
    pub(super) has_ip_conditions: bool,
    /// Index of its counters, and key of the state of its matches.
    pub(super) slot: u32,
    /// From which text it came.
    pub(super) source: Arc<RuleSource>,
}

impl Rule {
    pub(super) fn new(spec: RuleSpec, slot: u32, source: Arc<RuleSource>) -> Self {
        Self { has_ip_conditions: spec.ip != IpPart::default(), spec, slot, source }
    }
}

impl RuleSpec {
    /// True if the rule needs connection tracking.
    pub(super) fn uses_conntrack(&self) -> bool {
        let asks = |one: &Match| matches!(one, Match::Conntrack(_) | Match::Connmark(_));
        matches!(self.target, Target::Connmark(_) | Target::Ct(_) | Target::Nat(_))
            || self.matches.iter().any(asks)
    }

    /// The sets that it references, including duplicates.
    pub(super) fn sets(&self) -> impl Iterator<Item = SetId> {
        let asked = self
            .matches
            .iter()
            .filter_map(|one| if let Match::Set(set) = one { Some(set.id()) } else { None });
        let changed = if let Target::Set(set) = &self.target { set.ids() } else { [None, None] };
        asked.chain(changed.into_iter().flatten())
    }

    /// Appends the rule as `iptables-save` prints it after `-A CHAIN`. `chain_name` resolves the chain of a jump.
    ///
    /// Linux: `save_rule`, iptables/iptables.c, and `save_rule_details`, iptables/xshared.c.
    pub(super) fn print(&self, out: &mut String, chain_name: impl Fn(super::chain::ChainId) -> Arc<str>) {
        let ip = &self.ip;
        print_addr_mask(out, "-s", &ip.src, ip.src_inverted);
        print_addr_mask(out, "-d", &ip.dst, ip.dst_inverted);
        print_device(out, "-i", ip.in_device.as_deref());
        print_device(out, "-o", ip.out_device.as_deref());
        if ip.protocol != 0 {
            out.push_str(if ip.protocol_inverted { " ! -p " } else { " -p " });
            match protocol_name(ip.protocol) {
                Some(name) => out.push_str(name),
                None => _ = write!(out, "{}", ip.protocol),
            }
        }
        match ip.fragment {
            None => {}
            Some(false) => out.push_str(" -f"),
            Some(true) => out.push_str(" ! -f"),
        }
        for one in &self.matches {
            _ = write!(out, " -m {}", one.name());
            one.print(out);
        }
        self.target.print(out, chain_name);
    }
}

fn print_device(out: &mut String, option: &str, device: Option<&DeviceMatch>) {
    let Some(DeviceMatch { name, is_inverted }) = device else { return };
    _ = write!(out, "{} {option}", if *is_inverted { " !" } else { "" });
    print_device_name(out, name);
}
