//! Selects a tuple that no other flow uses.

use super::{NatRange, jhash};
use crate::ct::{CtStatus, TcpState};
use crate::draws::Purpose;
use crate::ids::EntryId;
use crate::mutation::Mutation;
use crate::netfilter::EvalCtx;
use crate::netfilter::conntrack::{Conntrack, Entry, allows_clash};
use crate::release::Change;
use crate::time::Instant;
use crate::tuple::{Direction, Tuple};
use crate::wire::protocol;
use crate::wire::rewrite::Side;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Candidates in the first round (`NF_NAT_MAX_ATTEMPTS`).
const MAX_ATTEMPTS: u32 = 128;
/// The last candidates of a round, for which old flows are evicted (`NF_NAT_HARDER_THRESH`).
const HARDER_THRESHOLD: u32 = MAX_ATTEMPTS / 4;
/// The search ends after a round with fewer candidates.
const MIN_ATTEMPTS: u32 = 16;

/// The tuple of a flow in the original direction once one side is bound within `range`; `current` is its present value
/// (`get_unique_tuple`, net/netfilter/nf_nat_core.c).
///
/// If the search fails, the result may be in use; then confirmation drops the packet.
pub(super) fn get_unique_tuple(
    ctx: &mut EvalCtx,
    id: EntryId,
    current: Tuple,
    range: &NatRange,
    manip: Side,
) -> Tuple {
    let now = ctx.cx.now;
    if manip == Side::Src && !range.flags.is_random() {
        if is_in_range(&current, range) {
            if !is_used_new(ctx.conntrack, &current, id, now) {
                return current;
            }
        } else if let Some(found) = find_appropriate_src(ctx.conntrack, &current, range, now)
            && !is_used(ctx.conntrack, &found, id, now)
        {
            return found;
        }
    }
    let tuple = find_best_ips_proto(current, range, manip);
    if !range.flags.is_random() {
        let is_good = match range.ports() {
            Some((min, max)) => {
                is_port_in_range(&tuple, manip, (min, max))
                    && (min == max || !is_used(ctx.conntrack, &tuple, id, now))
            }
            None => !is_used(ctx.conntrack, &tuple, id, now),
        };
        if is_good {
            return tuple;
        }
    }
    nf_nat_l4proto_unique_tuple(ctx, id, (current, tuple), range, manip)
}

/// True if another flow uses this tuple (`nf_nat_used_tuple`), so that replies would be indistinguishable.
fn is_used(conntrack: &mut Conntrack, tuple: &Tuple, id: EntryId, now: Instant) -> bool {
    !Mutation::NatClashIgnored.is_on()
        && tuple.reply().is_some_and(|reply| conntrack.is_tuple_taken(&reply, id, now))
}

/// Like [`is_used`], for an untranslated flow. A clash with the same flow in the opposite direction is resolved at
/// confirmation (`nf_nat_used_tuple_new`).
fn is_used_new(conntrack: &mut Conntrack, tuple: &Tuple, id: EntryId, now: Instant) -> bool {
    if !is_used(conntrack, tuple, id, now) {
        return false;
    }
    let Some(own) = conntrack.entry(id) else { return true };
    if !allows_clash(tuple.protocol) || own.status().intersects(CtStatus::NAT) {
        return true;
    }
    let own_reply = *own.tuple(Direction::Reply);
    let other = conntrack.find(tuple, now).or_else(|| conntrack.find(&tuple.reply()?, now));
    let Some(other) = other.and_then(|(other, _)| conntrack.entry(other)) else { return false };
    other.status().intersects(CtStatus::NAT) || *other.tuple(Direction::Original) != own_reply
}

/// Like [`is_used`], but late in the search a closed TCP flow gives way to a new one beyond its sequence numbers
/// (`nf_nat_used_tuple_harder`).
fn is_used_harder(ctx: &mut EvalCtx, tuple: &Tuple, id: EntryId, attempts_left: u32) -> bool {
    let now = ctx.cx.now;
    let Some(reply) = tuple.reply() else { return false };
    let own = ctx.conntrack.entry(id).and_then(Entry::tcp);
    let is_syn = own.is_some_and(|track| track.state() == TcpState::SynSent);
    let is_late = attempts_left <= HARDER_THRESHOLD && ctx.sysctls.release().has(Change::FlowsGiveUpPorts);
    if !is_late || tuple.protocol != protocol::TCP || !is_syn {
        return ctx.conntrack.is_tuple_taken(&reply, id, now);
    }
    let Some((old, direction)) = ctx.conntrack.find(&reply, now) else { return false };
    let end = own.map_or(0, |track| track.original_end());
    let gives_way = direction == Direction::Reply
        && old != id
        && ctx.conntrack.entry(old).is_some_and(|entry| {
            // Linux: nf_nat_may_kill, nf_seq_has_advanced.
            let status = entry.status();
            status.contains(CtStatus::SRC_NAT)
                && !status.intersects(CtStatus::FIXED_TIMEOUT)
                && entry.tcp().is_some_and(|track| {
                    track.state() >= TcpState::TimeWait
                        && end.wrapping_sub(track.original_end()).cast_signed() > 0
                })
        });
    !(gives_way && ctx.conntrack.delete(old))
}

/// Linux: `nf_in_range`. Used for the source only.
fn is_in_range(tuple: &Tuple, range: &NatRange) -> bool {
    let has_addr = range.addrs().is_none_or(|(min, max)| (min..=max).contains(&tuple.src));
    has_addr && range.ports().is_none_or(|ports| is_port_in_range(tuple, Side::Src, ports))
}

/// Linux: `l4proto_in_range`.
fn is_port_in_range(tuple: &Tuple, side: Side, (min, max): (u16, u16)) -> bool {
    !has_port(tuple.protocol) || (min..=max).contains(&tuple.port(side))
}

const fn has_port(number: u8) -> bool {
    matches!(number, protocol::TCP | protocol::UDP | protocol::SCTP | protocol::ICMP)
}

/// The source assigned to another flow of the same client, so that a client socket keeps one source for all
/// destinations.
fn find_appropriate_src(
    conntrack: &Conntrack,
    tuple: &Tuple,
    range: &NatRange,
    now: Instant,
) -> Option<Tuple> {
    conntrack
        .of_same_source(tuple, now)
        .filter_map(|entry| entry.tuple(Direction::Reply).reply())
        .map(|theirs| tuple.with_addr(Side::Src, theirs.src).with_port(Side::Src, theirs.src_port()))
        .find(|candidate| is_in_range(candidate, range))
}

/// Selects an address of the range by a hash of the flow's addresses: the same client gets the same address for the
/// same server on every machine, because the hash has no key.
fn find_best_ips_proto(tuple: Tuple, range: &NatRange, manip: Side) -> Tuple {
    let Some((min, max)) = range.addrs() else { return tuple };
    if min == max {
        return tuple.with_addr(manip, min);
    }
    let (min, max) = (words(min), words(max));
    // The kernel hashes addresses in memory order, on a little-endian machine.
    let (src, dst) = (words(tuple.src).map(u32::swap_bytes), words(tuple.dst).map(u32::swap_bytes));
    let count = if tuple.src.is_ipv4() { 1 } else { 4 };
    let mut hash = jhash::jhash2(&src, if range.flags.persistent { 0 } else { dst[count - 1] });
    let mut chosen = [0; 4];
    let mut is_below_max = false;
    for at in 0..count {
        // After a word below the maximum, every value of the next words is in the range.
        let (low, span) = if is_below_max {
            (0, u32::MAX)
        } else {
            (min[at], max[at].wrapping_sub(min[at]).wrapping_add(1))
        };
        let offset = (u64::from(hash) * u64::from(span)) >> 32;
        chosen[at] = low.wrapping_add(u32::try_from(offset).expect("below the span"));
        is_below_max |= chosen[at] != max[at];
        if !range.flags.persistent {
            hash ^= dst[at];
        }
    }
    tuple.with_addr(manip, from_words(chosen, tuple.src))
}

/// The words of an address (`union nf_inet_addr`); the last three are zero for IPv4.
fn words(addr: IpAddr) -> [u32; 4] {
    match addr {
        IpAddr::V4(addr) => [addr.to_bits(), 0, 0, 0],
        IpAddr::V6(addr) => {
            let bits = addr.to_bits();
            [96, 64, 32, 0].map(|shift| ((bits >> shift) & u128::from(u32::MAX)) as u32)
        }
    }
}

/// The address with these words, in the family of `like`.
fn from_words(words: [u32; 4], like: IpAddr) -> IpAddr {
    match like {
        IpAddr::V4(_) => Ipv4Addr::from_bits(words[0]).into(),
        IpAddr::V6(_) => {
            Ipv6Addr::from_bits(words.iter().fold(0, |bits, word| (bits << 32) | u128::from(*word))).into()
        }
    }
}

/// The candidate ports: the first, and the number of them.
fn candidates(tuple: &Tuple, range: &NatRange, manip: Side) -> Option<(u16, u32)> {
    match (tuple.protocol, range.ports()) {
        (number, _) if !has_port(number) => None,
        (_, Some((min, max))) => Some((min, u32::from(max - min) + 1)),
        (protocol::ICMP, None) => Some((0, 1 << 16)),
        // A destination port without a range is never changed.
        (_, None) if manip == Side::Dst => None,
        (_, None) => Some(match tuple.src_port() {
            // Old services trusted low source ports, some only those below 512.
            _ if Mutation::NatLowPortsIgnored.is_on() => (1024, 64_512),
            0..512 => (1, 511),
            512..1024 => (600, 424),
            1024.. => (1024, 64_512),
        }),
    }
}

/// Searches for a free port from a random one on, in rounds of fewer and fewer candidates: a complete search would take
/// too long if every port is in use. The tuples are the flow's present one, and the one with the address of the range.
fn nf_nat_l4proto_unique_tuple(
    ctx: &mut EvalCtx,
    id: EntryId,
    (current, mut tuple): (Tuple, Tuple),
    range: &NatRange,
    manip: Side,
) -> Tuple {
    let Some((first, count)) = candidates(&tuple, range, manip) else { return tuple };
    let mut offset =
        if manip == Side::Dst && !range.flags.is_random() { 0 } else { random_offset(ctx, &current) };
    let mut attempts = count.min(MAX_ATTEMPTS);
    loop {
        for left in (1..=attempts).rev() {
            let port = u32::from(first) + u32::from(offset) % count;
            tuple = tuple.with_port(manip, u16::try_from(port).expect("within the range"));
            if !is_used_harder(ctx, &tuple, id, left) {
                return tuple;
            }
            offset = offset.wrapping_add(1);
        }
        if attempts >= count || attempts < MIN_ATTEMPTS {
            return tuple;
        }
        attempts /= 2;
        offset = random_offset(ctx, &current);
    }
}

/// Linux: `get_random_u16`.
fn random_offset(ctx: &mut EvalCtx, current: &Tuple) -> u16 {
    let source = (current.src, current.src_port());
    let drawn = ctx.cx.draws.below_for(ctx.cx.netns, Purpose::NatPort, source, 1 << 16);
    u16::try_from(drawn).expect("below 65,536")
}
