//! Policy rules (`ip rule`): which routing tables a lookup uses, in which order (net/core/fib_rules.c,
//! net/ipv4/fib_rules.c).

use super::TableId;
use crate::ids::DeviceId;
use ipnet::Ipv4Net;
use std::net::Ipv4Addr;

/// The key of a route lookup (`struct flowi4`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowKey {
    /// Source; unspecified if not chosen yet.
    pub src: Ipv4Addr,
    /// Destination.
    pub dst: Ipv4Addr,
    /// Receiving device; the loopback for what this netns sends (`flowi4_iif`).
    pub iif: DeviceId,
    /// Output device, if given.
    pub oif: Option<DeviceId>,
    /// Packet mark.
    pub mark: u32,
}

impl FlowKey {
    /// The key for a packet that this netns sends to `dst`, with nothing else known.
    pub const fn to(dst: Ipv4Addr) -> Self {
        Self { src: Ipv4Addr::UNSPECIFIED, dst, iif: DeviceId::LOOPBACK, oif: None, mark: 0 }
    }
}

/// What a matching rule does (`FR_ACT_*`, include/uapi/linux/fib_rules.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleAction {
    /// `lookup TABLE`: the search goes on with the next rule if the table has no route.
    Lookup {
        /// The table.
        table: TableId,
        /// `suppress_prefixlength`: a route with a prefix of at most this length does not count.
        suppress_prefix_len: Option<u8>,
    },
    /// `unreachable`: network unreachable, unlike for a route of this type.
    Unreachable,
    /// `prohibit`.
    Prohibit,
    /// `blackhole`.
    Blackhole,
}

/// A policy rule (`struct fib4_rule`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PolicyRule {
    /// Rules are tried in this order; those of equal priority in order of addition.
    pub priority: u32,
    /// `from`.
    pub src: Ipv4Net,
    /// `to`.
    pub dst: Ipv4Net,
    /// `iif`; `lo` for what this netns sends.
    pub iif: Option<DeviceId>,
    /// `oif`: the output device that the sender has chosen.
    pub oif: Option<DeviceId>,
    /// `fwmark`: value and mask.
    pub mark: (u32, u32),
    /// `not`: matches all other packets.
    pub is_inverted: bool,
    /// The action.
    pub action: RuleAction,
}

/// Why a rule was not added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("File exists")]
pub struct RuleExists;

/// The rules of a netns, ordered by priority.
#[derive(Clone, Debug)]
pub(super) struct PolicyRules {
    rules: Vec<PolicyRule>,
    /// The user has added a rule (`fib_has_custom_rules`).
    pub(super) is_custom: bool,
}

impl PolicyRule {
    /// `from all lookup TABLE`.
    pub const fn lookup(priority: u32, table: TableId) -> Self {
        let all = Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 0);
        let action = RuleAction::Lookup { table, suppress_prefix_len: None };
        Self { priority, src: all, dst: all, iif: None, oif: None, mark: (0, 0), is_inverted: false, action }
    }

    /// Linux: fib_rule_match, net/core/fib_rules.c; fib4_rule_match, net/ipv4/fib_rules.c.
    pub(super) fn matches(&self, key: &FlowKey) -> bool {
        let (mark, mask) = self.mark;
        let all = self.iif.is_none_or(|iif| iif == key.iif)
            && self.oif.is_none_or(|oif| Some(oif) == key.oif)
            && (mark ^ key.mark) & mask == 0
            && self.src.contains(&key.src)
            && self.dst.contains(&key.dst);
        all != self.is_inverted
    }
}

impl Default for PolicyRules {
    // Linux: fib_default_rules_init, net/ipv4/fib_rules.c.
    fn default() -> Self {
        let rules = vec![
            PolicyRule::lookup(0, TableId::Local),
            PolicyRule::lookup(0x7ffe, TableId::Main),
            PolicyRule::lookup(0x7fff, TableId::DEFAULT),
        ];
        Self { rules, is_custom: false }
    }
}

impl PolicyRules {
    /// In the order in which they are tried.
    pub(super) fn iter(&self) -> impl Iterator<Item = &PolicyRule> {
        self.rules.iter()
    }

    /// The priority of a rule without one: just before the second rule (`fib_default_rule_pref`).
    pub(super) fn default_priority(&self) -> u32 {
        self.rules.get(1).map_or(0, |second| second.priority.saturating_sub(1))
    }

    /// Linux: fib_nl_newrule, with NLM_F_CREATE | NLM_F_EXCL.
    pub(super) fn add(&mut self, rule: PolicyRule) -> Result<(), RuleExists> {
        if self.rules.contains(&rule) {
            return Err(RuleExists);
        }
        let at = self.rules.partition_point(|other| other.priority <= rule.priority);
        self.rules.insert(at, rule);
        self.is_custom = true;
        Ok(())
    }
}
