//! The matches by name, and what holds for each whatever the packet.

use super::Match;
use super::addrtype::Addrtype;
use super::conntrack::Conntrack;
use super::header::{Dscp, Length, Mac, Pkttype, Tos, Ttl};
use super::icmp::Icmp;
use super::inert::{Comment, Nfacct};
use super::iprange::Iprange;
use super::ipvs::Ipvs;
use super::limit::Limit;
use super::mark::MarkMatch;
use super::owner::Owner;
use super::physdev::Physdev;
use super::policy::Policy;
use super::ports::{Multiport, Sctp, Tcp, Udp};
use super::recent::Recent;
use super::rpfilter::Rpfilter;
use super::set::SetMatch;
use super::socket::Socket;
use super::statistic::Statistic;
use crate::hook::Family;
use crate::wire::protocol;
use crate::xtables::chain::HookMask;
use crate::xtables::error::{Parse, RuleErrorKind};
use crate::xtables::kind::TableKind;
use crate::xtables::options::Opt;
use crate::xtables::words::Value;

/// Matches that the real tool supports and this simulator does not.
const UNSUPPORTED: &[&str] = &[
    "ah",
    "bpf",
    "cgroup",
    "cluster",
    "connbytes",
    "connlabel",
    "connlimit",
    "cpu",
    "dccp",
    "devgroup",
    "dst",
    "ecn",
    "esp",
    "eui64",
    "frag",
    "hashlimit",
    "hbh",
    "helper",
    "hl",
    "icmp6",
    "ipcomp",
    "ipv6header",
    "mh",
    "osf",
    "quota",
    "rateest",
    "realm",
    "rt",
    "srh",
    "string",
    "tcpmss",
    "time",
    "u32",
];

impl Match {
    /// The match for `-m NAME`.
    pub(in crate::xtables) fn begin(name: Value<'_>, family: Family) -> Parse<Self> {
        Ok(match name.text {
            "addrtype" => Self::Addrtype(Addrtype::default()),
            "comment" => Self::Comment(Comment::default()),
            "connmark" => Self::Connmark(MarkMatch::default()),
            "conntrack" => Self::Conntrack(Box::new(Conntrack::new(family, false))),
            "dscp" => Self::Dscp(Dscp::default()),
            "icmp" if family == Family::Ipv4 => Self::Icmp(Icmp::new(false)),
            "icmp6" if family == Family::Ipv6 => Self::Icmp(Icmp::new(true)),
            "iprange" => Self::Iprange(Box::new(Iprange::new(family))),
            "ipvs" => Self::Ipvs(Box::default()),
            "length" => Self::Length(Length::default()),
            "limit" => Self::Limit(Limit::default()),
            "mac" => Self::Mac(Mac::default()),
            "mark" => Self::Mark(MarkMatch::default()),
            "multiport" => Self::Multiport(Box::default()),
            "nfacct" => Self::Nfacct(Nfacct::default()),
            "owner" => Self::Owner(Box::default()),
            "physdev" => Self::Physdev(Box::default()),
            "pkttype" => Self::Pkttype(Pkttype::default()),
            "policy" => Self::Policy(Box::default()),
            "recent" => Self::Recent(Box::new(Recent::new(family))),
            "rpfilter" => Self::Rpfilter(Rpfilter::default()),
            "sctp" => Self::Sctp(Sctp::default()),
            "set" => Self::Set(Box::default()),
            "socket" => Self::Socket(Socket::default()),
            "state" => Self::Conntrack(Box::new(Conntrack::new(family, true))),
            "statistic" => Self::Statistic(Box::default()),
            "tcp" => Self::Tcp(Tcp::default()),
            "tos" => Self::Tos(Tos::default()),
            "ttl" if family == Family::Ipv4 => Self::Ttl(Ttl::default()),
            "udp" => Self::Udp(Udp::default()),
            other if UNSUPPORTED.contains(&other) => {
                return Err(name.expected("a supported match").kind(RuleErrorKind::Unsupported));
            }
            _ => return Err(name.expected("the name of a match")),
        })
    }

    /// The match that `-p` loads implicitly when one of its options is used without `-m`.
    pub(in crate::xtables) fn of_protocol(number: u8, family: Family) -> Option<Self> {
        match (number, family) {
            (protocol::TCP, _) => Some(Self::Tcp(Tcp::default())),
            (protocol::UDP, _) => Some(Self::Udp(Udp::default())),
            (protocol::SCTP, _) => Some(Self::Sctp(Sctp::default())),
            (protocol::ICMP, Family::Ipv4) => Some(Self::Icmp(Icmp::new(false))),
            (58, Family::Ipv6) => Some(Self::Icmp(Icmp::new(true))),
            _ => None,
        }
    }

    /// Properties independent of the packet.
    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::Addrtype(one) => Kind::new("addrtype", Addrtype::OPTIONS).from(one.allowed_hooks()),
            Self::Comment(_) => Kind::new("comment", Comment::OPTIONS),
            Self::Connmark(_) => Kind::new("connmark", MarkMatch::OPTIONS),
            Self::Conntrack(one) => Kind::new(one.name(), one.options()),
            Self::Dscp(_) => Kind::new("dscp", Dscp::OPTIONS),
            // It needs a whole ICMP header, and drops a packet without one.
            Self::Icmp(one) => Kind::new(one.name(), one.options()).of(one.protocol_name()).impure(true),
            Self::Iprange(_) => Kind::new("iprange", Iprange::OPTIONS),
            Self::Ipvs(_) => Kind::new("ipvs", Ipvs::OPTIONS),
            Self::Length(_) => Kind::new("length", Length::OPTIONS),
            Self::Limit(_) => Kind::new("limit", Limit::OPTIONS).impure(true),
            Self::Mac(_) => Kind::new("mac", Mac::OPTIONS).from(Mac::ALLOWED_HOOKS),
            Self::Mark(_) => Kind::new("mark", MarkMatch::OPTIONS),
            Self::Multiport(_) => Kind::new("multiport", Multiport::OPTIONS),
            Self::Nfacct(_) => Kind::new("nfacct", Nfacct::OPTIONS),
            Self::Nth(_) | Self::Random(_) | Self::Statistic(_) => {
                Kind::new("statistic", Statistic::OPTIONS).impure(true)
            }
            Self::Owner(_) => Kind::new("owner", Owner::OPTIONS).from(Owner::ALLOWED_HOOKS),
            Self::Physdev(one) => Kind::new("physdev", Physdev::OPTIONS).from(one.allowed_hooks()),
            Self::Pkttype(_) => Kind::new("pkttype", Pkttype::OPTIONS),
            Self::Policy(one) => Kind::new("policy", Policy::OPTIONS).from(one.allowed_hooks()),
            Self::Recent(_) => Kind::new("recent", Recent::OPTIONS).impure(true),
            Self::Rpfilter(_) => Kind::new("rpfilter", Rpfilter::OPTIONS)
                .from(Rpfilter::ALLOWED_HOOKS)
                .within(Rpfilter::TABLES),
            Self::Sctp(_) => Kind::new("sctp", Sctp::OPTIONS).of("sctp"),
            // It may count packets in a set.
            Self::Set(_) => Kind::new("set", SetMatch::OPTIONS).impure(true),
            Self::Socket(_) => Kind::new("socket", Socket::OPTIONS).from(Socket::ALLOWED_HOOKS),
            // Header options may be malformed.
            Self::Tcp(one) => Kind::new("tcp", Tcp::OPTIONS).of("tcp").impure(one.reads_options()),
            Self::Tos(_) => Kind::new("tos", Tos::OPTIONS),
            Self::Ttl(_) => Kind::new("ttl", Ttl::OPTIONS),
            Self::Udp(_) => Kind::new("udp", Udp::OPTIONS).of("udp"),
        }
    }
}

/// Properties of a kind of match.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kind {
    pub(super) name: &'static str,
    pub(super) options: &'static [Opt],
    /// The protocol that the rule must have.
    pub(super) protocol: Option<&'static str>,
    pub(super) hooks: HookMask,
    /// The tables that may contain it.
    pub(super) tables: &'static [TableKind],
    pub(super) is_pure: bool,
}

impl Kind {
    const fn new(name: &'static str, options: &'static [Opt]) -> Self {
        Self { name, options, protocol: None, hooks: HookMask::ALL, tables: &TableKind::ALL, is_pure: true }
    }

    const fn of(self, protocol: &'static str) -> Self {
        Self { protocol: Some(protocol), ..self }
    }

    const fn from(self, hooks: HookMask) -> Self {
        Self { hooks, ..self }
    }

    const fn within(self, tables: &'static [TableKind]) -> Self {
        Self { tables, ..self }
    }

    const fn impure(self, is_impure: bool) -> Self {
        Self { is_pure: !is_impure, ..self }
    }
}
