//! Network address translation (net/netfilter/nf_nat_core.c, nf_nat_proto.c).
//!
//! A flow gets one binding for its source and one for its destination, from its first packet; what the bindings are is kept
//! in the reply tuple of its conntrack entry alone. Every packet is then made to look as the opposite tuple, turned round,
//! says. Rules are asked only while a flow has no binding for that side; when none of them answers, the flow gets a *null
//! binding*, which keeps the address but still sees to it that no two flows have replies that look the same.
//!
//! [`nf_nat_inet_fn`] is the entry of every hook. Chains call [`setup_info`], [`masquerade`] or [`redirect`].

mod bind;
mod jhash;
mod manip;
mod unique;

pub use bind::{masquerade, redirect, setup_info};

use crate::ct::{CtInfo, CtStatus, PacketCt};
use crate::drop_reason::DropReason;
use crate::hook::{Hook, Priority, Verdict};
use crate::mutation::Mutation;
use crate::netfilter::EvalCtx;
use crate::netfilter::conntrack::{Entry, delete};
use crate::packet::Packet;
use crate::tuple::Direction;
use crate::wire::protocol;
use crate::wire::rewrite::Side;
use bind::null_binding;
use manip::nat_packet;
use std::net::IpAddr;

/// Port selection (`NF_NAT_RANGE_*`, include/uapi/linux/netfilter/nf_nat.h).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct NatFlags {
    /// `--random`, `random`: never keep the original port. Since Linux 5.0 the same as `random_fully`.
    pub random: bool,
    /// `--random-fully`, `fully-random`: never keep the original port.
    pub random_fully: bool,
    /// `--persistent`, `persistent`: a client always gets the same one of several addresses.
    pub persistent: bool,
}

impl NatFlags {
    /// `NF_NAT_RANGE_PROTO_RANDOM_ALL`.
    fn is_random(self) -> bool {
        (self.random || self.random_fully) && !Mutation::MasqueradeKeepsPort.is_on()
    }
}

/// The permitted values of a binding (`struct nf_nat_range2`). If one bound is missing, the other is the only value; if
/// both are missing, the original is kept where possible.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct NatRange {
    /// Lowest address.
    pub min_addr: Option<IpAddr>,
    /// Highest address.
    pub max_addr: Option<IpAddr>,
    /// Lowest port, or ICMP identifier.
    pub min_port: Option<u16>,
    /// Highest port, or ICMP identifier.
    pub max_port: Option<u16>,
    /// Port selection.
    pub flags: NatFlags,
}

impl NatRange {
    /// This address only; the port is kept where possible.
    pub const fn to_addr(addr: IpAddr) -> Self {
        Self {
            min_addr: Some(addr),
            max_addr: Some(addr),
            min_port: None,
            max_port: None,
            flags: NatFlags { random: false, random_fully: false, persistent: false },
        }
    }

    /// The same, with this port only.
    #[must_use]
    pub const fn with_port(mut self, port: u16) -> Self {
        (self.min_port, self.max_port) = (Some(port), Some(port));
        self
    }

    /// `NF_NAT_RANGE_MAP_IPS`.
    fn addrs(&self) -> Option<(IpAddr, IpAddr)> {
        let (min, max) = (self.min_addr.or(self.max_addr)?, self.max_addr.or(self.min_addr)?);
        Some((min.min(max), min.max(max)))
    }

    /// `NF_NAT_RANGE_PROTO_SPECIFIED`.
    fn ports(&self) -> Option<(u16, u16)> {
        let (min, max) = (self.min_port.or(self.max_port)?, self.max_port.or(self.min_port)?);
        Some((min.min(max), min.max(max)))
    }
}

/// The hooks of NAT with their priorities (`nf_nat_ipv4_ops`, net/netfilter/nf_nat_proto.c): DNAT before routing, SNAT
/// after it.
pub const HOOKS: [(Hook, Priority); 4] = [
    (Hook::Prerouting, Priority::NAT_DST),
    (Hook::Input, Priority::NAT_SRC),
    (Hook::Output, Priority::NAT_DST),
    (Hook::Postrouting, Priority::NAT_SRC),
];

/// NAT as an entry of a hook (`nf_nat_inet_fn`, net/netfilter/nf_nat_core.c): evaluates its chains in order while the
/// flow has no binding for this side, and translates the packet. `ask` evaluates one chain.
pub fn nf_nat_inet_fn<Chain>(
    ctx: &mut EvalCtx,
    packet: &mut Packet,
    chains: impl IntoIterator<Item = Chain>,
    ask: impl FnMut(&mut EvalCtx, &mut Packet, Chain) -> Verdict,
) -> Verdict {
    let manip = manip_of(ctx.state.hook);
    match nat_begin(ctx, packet, manip) {
        NatStep::Skip => Verdict::Accept,
        NatStep::Drop(reason) => Verdict::Drop(reason),
        NatStep::Translate => nat_packet(ctx, packet, manip),
        NatStep::AskChains => match ask_chains(ctx, packet, manip, chains, ask) {
            Verdict::Accept => nat_packet(ctx, packet, manip),
            dropped @ Verdict::Drop(_) => dropped,
        },
    }
}

/// Stops when a chain has bound the flow. If none has, it gets a null binding.
fn ask_chains<Chain>(
    ctx: &mut EvalCtx,
    packet: &mut Packet,
    manip: Side,
    chains: impl IntoIterator<Item = Chain>,
    mut ask: impl FnMut(&mut EvalCtx, &mut Packet, Chain) -> Verdict,
) -> Verdict {
    for chain in chains {
        let verdict = ask(ctx, packet, chain);
        if verdict != Verdict::Accept || is_bound(ctx, packet, manip) {
            return verdict;
        }
    }
    null_binding(ctx, packet, manip)
}

fn is_bound(ctx: &EvalCtx, packet: &Packet, manip: Side) -> bool {
    let PacketCt::Entry { id, .. } = packet.meta.ct else { return false };
    ctx.conntrack.entry(id).is_some_and(|entry| is_initialised(entry, manip))
}

/// What NAT does with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
enum NatStep {
    /// Nothing.
    Skip,
    /// [`nat_packet`].
    Translate,
    /// [`ask_chains`], then [`nat_packet`].
    AskChains,
    /// Drop the packet.
    Drop(DropReason),
}

/// The binding of a hook (`HOOK2MANIP`, include/net/netfilter/nf_nat.h): the source where packets leave or are
/// delivered, the destination where they are received or generated.
const fn manip_of(hook: Hook) -> Side {
    match hook {
        Hook::Postrouting | Hook::Input => Side::Src,
        Hook::Prerouting | Hook::Output | Hook::Forward => Side::Dst,
    }
}

/// True if the flow has a binding for that side (`nf_nat_initialized`), including a null binding.
pub const fn is_initialised(entry: &Entry, manip: Side) -> bool {
    entry.status().contains(CtStatus::bound(manip))
}

/// The first half of `nf_nat_ipv4_fn` and `nf_nat_inet_fn`: decides what to do with this packet. ICMP errors about a
/// flow are translated immediately.
fn nat_begin(ctx: &mut EvalCtx, packet: &mut Packet, manip: Side) -> NatStep {
    let PacketCt::Entry { id, info } = packet.meta.ct else { return NatStep::Skip };
    let Some(entry) = ctx.conntrack.entry(id) else { return NatStep::Skip };
    let is_bound = is_initialised(entry, manip);
    // Linux: nf_nat_oif_changed, include/net/netfilter/nf_nat.h.
    let has_moved = ctx.state.hook == Hook::Postrouting
        && info.direction() == Direction::Original
        && entry.masquerade_device.is_some_and(|device| ctx.state.out_dev != Some(device));
    let asks_rules = match info {
        CtInfo::New => true,
        CtInfo::Related | CtInfo::RelatedReply => {
            if packet.ip().protocol() == protocol::ICMP {
                return match manip::nf_nat_icmp_reply_translation(ctx, packet, id, info, manip) {
                    Ok(()) => NatStep::Skip,
                    Err(reason) => NatStep::Drop(reason),
                };
            }
            // A RST in reply to a rejected packet.
            true
        }
        CtInfo::Established | CtInfo::EstablishedReply => false,
    };
    if asks_rules && (!is_bound || Mutation::NatAsksEveryPacket.is_on()) {
        return NatStep::AskChains;
    }
    if has_moved {
        // The address belongs to the flow's previous output device.
        delete(ctx, packet, id);
        return NatStep::Drop(DropReason::NatDeviceChanged);
    }
    NatStep::Translate
}

#[cfg(test)]
mod tests;
