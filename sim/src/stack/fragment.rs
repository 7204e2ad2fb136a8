//! Fragmentation (net/ipv4/ip_output.c, net/ipv4/ip_forward.c).
//!
//! Not modelled: IP options, which later fragments contain only in part.

use super::{icmp, kfree_skb};
use crate::context::Context;
use crate::drop_reason::DropReason;
use crate::mutation::Mutation;
use crate::netns::Netns;
use crate::packet::Packet;
use crate::trace::Terminal;
use crate::wire::icmpv4::{icmp_type, unreachable_code};
use crate::wire::{ETHERNET_HEADER_LEN, Ipv4};

/// True if a forwarded packet exceeds the MTU and must not be fragmented (`ip_exceeds_mtu`). A packet reassembled by
/// conntrack may be, if its fragments fit.
pub(super) fn ip_exceeds_mtu(packet: &Packet, mtu: u16) -> bool {
    let ip = packet.ipv4();
    if ip.total_len() <= mtu || !ip.dont_fragment() {
        return false;
    }
    is_too_large(packet, mtu)
}

/// True if a packet with DF must not be fragmented for this MTU.
fn is_too_large(packet: &Packet, mtu: u16) -> bool {
    packet.meta.defragmented.as_ref().map_or(!packet.meta.ignore_df, |fragments| fragments.max_size > mtu)
}

/// Fragments a packet, or drops it and sends an ICMP error if fragmentation is forbidden (`ip_fragment`).
pub(super) fn ip_fragment(ns: &mut Netns, cx: &mut Context, packet: Packet, mtu: u16) -> Vec<Packet> {
    if packet.ipv4().dont_fragment() && is_too_large(&packet, mtu) {
        icmp::icmp_send(
            ns,
            cx,
            &icmp::About::packet(&packet),
            icmp_type::DEST_UNREACHABLE,
            unreachable_code::FRAGMENTATION_NEEDED,
            u32::from(mtu),
        );
        kfree_skb(ns, cx, packet, DropReason::PacketTooBig);
        return Vec::new();
    }
    ip_do_fragment(ns, cx, packet, mtu)
}

/// Fragments a packet that leaves by a bridge port, or drops it silently (`br_nf_ip_fragment`,
/// net/bridge/br_netfilter_hooks.c). `mtu` is that of the bridge.
pub(crate) fn br_nf_ip_fragment(ns: &mut Netns, cx: &mut Context, packet: Packet, mtu: u16) -> Vec<Packet> {
    let fragments = packet.meta.defragmented.as_ref();
    let has_large_ones = fragments.is_some_and(|fragments| fragments.max_size > mtu);
    let is_forbidden = packet.ipv4().dont_fragment() && !packet.meta.ignore_df && fragments.is_none();
    if is_forbidden || has_large_ones {
        kfree_skb(ns, cx, packet, DropReason::PacketTooBig);
        return Vec::new();
    }
    ip_do_fragment(ns, cx, packet, mtu)
}

/// Fragments a packet, and ends it (`ip_do_fragment`). No fragment has DF: a packet with DF gets here only if its socket
/// permits it, or if it was reassembled, and then its original fragments are sent with new headers.
fn ip_do_fragment(ns: &mut Netns, cx: &mut Context, packet: Packet, mtu: u16) -> Vec<Packet> {
    let header_len = u16::try_from(packet.ipv4().header_len()).expect("an IPv4 header has 60 bytes at most");
    let fragments = packet.meta.defragmented.as_ref();
    let room = fragments.map_or(mtu, |fragments| fragments.max_size.min(mtu)).saturating_sub(header_len);
    let kept = fragments.map(|fragments| &fragments.sizes).filter(|sizes| !sizes.is_empty());
    let sizes = match kept {
        Some(sizes)
            if !Mutation::FragmentSizesForgotten.is_on() && sizes.iter().all(|size| *size <= room) =>
        {
            sizes.clone()
        }
        Some(_) | None => cut(&packet, room),
    };
    let parts = parts(ns, cx, &packet, header_len, &sizes);
    ns.conntrack.release(&packet);
    cx.end(packet, Terminal::Fragmented);
    parts
}

/// Sizes of fragments that fill the available room; all but the last are multiples of eight bytes.
fn cut(packet: &Packet, room: u16) -> Vec<u16> {
    let mut left = u16::try_from(packet.ipv4().payload().len()).expect("a packet is under 64 KiB");
    let mut sizes = Vec::new();
    while left > 0 {
        // Devices with an MTU too small for eight bytes do not exist; the loop must terminate nevertheless.
        let size = if left > room { (room & !7).max(8) } else { left };
        sizes.push(size);
        left -= size;
    }
    sizes
}

fn parts(ns: &mut Netns, cx: &mut Context, packet: &Packet, header_len: u16, sizes: &[u16]) -> Vec<Packet> {
    let ip = packet.ipv4();
    let (first_offset, has_more) = (u32::from(ip.fragment_offset()), ip.more_fragments());
    let header_end = ETHERNET_HEADER_LEN + usize::from(header_len);
    let mut parts = Vec::new();
    let mut done = 0;
    for (index, size) in sizes.iter().enumerate() {
        let mut bytes = packet.bytes[..header_end].to_vec();
        let from = header_end + usize::from(done);
        bytes.extend_from_slice(&packet.bytes[from..from + usize::from(*size)]);
        let more = has_more || index + 1 < sizes.len();
        let mut header = Ipv4::new_unchecked(&mut bytes[ETHERNET_HEADER_LEN..]);
        header.set_part(header_len + size, first_offset + u32::from(done), more, false);
        done += size;
        let part = cx.trace.cut(cx.now, cx.netns, packet, bytes);
        ns.conntrack.hold(&part);
        parts.push(part);
    }
    parts
}
