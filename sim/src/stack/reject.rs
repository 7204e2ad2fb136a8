//! Replies to rejected packets (net/ipv4/netfilter/nf_reject_ipv4.c).

use super::hooks::Stopped;
use super::{dev, ip_output};
use crate::context::{Context, OriginalPacket};
use crate::mutation::Mutation;
use crate::netns::Netns;
use crate::packet::Origin;
use crate::wire::build::{self, Ipv4Fields};
use crate::wire::{EtherType, Ethernet, Ipv4, Tcp, TcpFlags, protocol};

/// Replies to a TCP segment with a RST that belongs to the same conntrack entry (`nf_send_reset`).
pub(super) fn nf_send_reset(ns: &mut Netns, cx: &mut Context, original: &OriginalPacket) {
    let ip = Ipv4::new_unchecked(&original.bytes[..]);
    let Some(segment) = reset_for(&ip) else { return };
    let fields = Ipv4Fields {
        src: ip.dst(),
        dst: ip.src(),
        protocol: protocol::TCP,
        ttl: match Mutation::RejectResetTtl.is_on() {
            true => ip.ttl(),
            false => ns.sysctls.ip_default_ttl(),
        },
        tos: 0,
        ident: 0,
        dont_fragment: true,
    };
    let mut reset =
        cx.create(Origin::Kernel, Some(original.id), original.flow, build::ipv4(fields, &segment));
    if let Err(reason) = ip_output::ip_route_me_harder(ns, cx, &mut reset) {
        return super::kfree_skb(ns, cx, reset, reason);
    }
    // Linux: nf_ct_attach. The RST has the opposite direction of the rejected segment.
    ns.conntrack.attach(&mut reset, &original.meta);
    // Linux: nf_ct_set_closing. The sender closes on this RST, so the entry must not last for days.
    if !Mutation::RejectResetLeavesOpen.is_on() {
        ns.conntrack.set_closing(&original.meta, &ns.sysctls.conntrack.timeouts, cx.now);
    }
    let Some(info) = original.meta.bridge else {
        // A RST dropped by OUTPUT is lost.
        let _: Result<(), Stopped> = ip_output::ip_local_out(ns, cx, reset);
        return;
    };
    // A bridged segment is answered on its ingress port, with swapped MACs.
    if let Some(mut ethernet) = Ethernet::new_checked(&mut reset.bytes[..]) {
        ethernet.set(original.src_mac, original.dst_mac, EtherType::Ipv4);
    }
    dev::dev_queue_xmit(ns, cx, info.phys_in, reset);
}

/// The RST for a segment (`nf_reject_ip_tcphdr_put`), or none if it must not be answered (`nf_reject_ip_tcphdr_get`).
fn reset_for(ip: &Ipv4<&[u8]>) -> Option<Vec<u8>> {
    let tcp = Tcp::new_checked(ip.payload())?;
    if ip.fragment_offset() > 0 || tcp.flags().contains(TcpFlags::RST) {
        return None;
    }
    let has = |flag| u32::from(tcp.flags().contains(flag));
    let (sequence, acknowledgment, flags) = if tcp.flags().contains(TcpFlags::ACK) {
        (tcp.acknowledgment(), 0, TcpFlags::RST)
    } else {
        let data_len = u32::try_from(tcp.payload().len()).expect("a segment is under 64 KiB");
        let next = tcp.sequence().wrapping_add(has(TcpFlags::SYN) + has(TcpFlags::FIN) + data_len);
        let next = if Mutation::RejectResetAcksShort.is_on() { tcp.sequence() } else { next };
        (0, next, TcpFlags::RST.union(TcpFlags::ACK))
    };
    let mut segment = Vec::with_capacity(20);
    segment.extend_from_slice(&tcp.dst_port().to_be_bytes());
    segment.extend_from_slice(&tcp.src_port().to_be_bytes());
    segment.extend_from_slice(&sequence.to_be_bytes());
    segment.extend_from_slice(&acknowledgment.to_be_bytes());
    segment.extend_from_slice(&[0x50, flags.0, 0, 0, 0, 0, 0, 0]);
    build::finish_transport_checksum(ip.dst(), ip.src(), protocol::TCP, &mut segment);
    Some(segment)
}
