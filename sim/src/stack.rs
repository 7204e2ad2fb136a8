//! The IPv4 stack of a netns. Functions have the kernel's names, so that a trace reads like a stack trace.
//!
//! ```text
//!   netif_receive_skb ─ bridge port? ─ br_handle_frame
//!          │
//!        ip_rcv ─ PREROUTING ─ route ─┬─ ip_local_deliver ─ INPUT ─ sockets, icmp_rcv
//!                                     └─ ip_forward ─ FORWARD ─┐
//!   ip_queue_xmit ─ ip_local_out ─ OUTPUT ────────────────────┴─ ip_output ─ POSTROUTING ─ neighbour ─ dev_queue_xmit
//! ```
//!
//! A function that takes a [`Packet`] by value either passes it on or ends it.

pub mod defrag;
pub mod dev;
pub mod fragment;
pub mod hooks;
pub mod icmp;
pub mod ip_forward;
pub mod ip_input;
pub mod ip_output;
pub mod ipvs;
mod pmtu;
mod redirect;
pub mod reject;
pub mod transport;

use crate::context::{Context, Effect};
use crate::drop_reason::DropReason;
use crate::netns::Netns;
use crate::packet::{Packet, QueuedPacket};
use crate::trace::Terminal;
use crate::wire::icmpv4::icmp_type;

/// Drops a packet (`kfree_skb_reason`, net/core/skbuff.c) and releases its conntrack entry.
pub(crate) fn kfree_skb(ns: &mut Netns, cx: &mut Context, packet: Packet, reason: DropReason) {
    end_packet(ns, cx, packet, Terminal::Dropped(reason));
}

/// Ends a packet that was processed successfully (`consume_skb`, net/core/skbuff.c).
pub(crate) fn consume_skb(ns: &mut Netns, cx: &mut Context, packet: Packet) {
    end_packet(ns, cx, packet, Terminal::Consumed);
}

pub(crate) fn end_packet(ns: &mut Netns, cx: &mut Context, packet: Packet, terminal: Terminal) {
    ns.conntrack.release(&packet);
    cx.end(packet, terminal);
}

/// Carries out effects requested since `effects_before`, in order; links and timers are left to the world.
/// True if the sender of a refused packet was told.
pub(crate) fn carry_out(ns: &mut Netns, cx: &mut Context, effects_before: usize) -> bool {
    let mut has_answered = false;
    while let Some(at) = (effects_before..cx.effects.len()).find(|at| !cx.effects[*at].is_for_world()) {
        match cx.effects.remove(at) {
            Effect::Transmit { device, packet: QueuedPacket(packet) } => {
                dev::dev_queue_xmit(ns, cx, device, packet);
            }
            Effect::End { packet: QueuedPacket(packet), terminal } => end_packet(ns, cx, packet, terminal),
            Effect::IcmpUnreachable { original, code } => {
                has_answered = true;
                let about = icmp::About::original(&original);
                icmp::icmp_send(ns, cx, &about, icmp_type::DEST_UNREACHABLE, code, 0);
            }
            Effect::TcpReset { original } => {
                has_answered = true;
                reject::nf_send_reset(ns, cx, &original);
            }
            Effect::Link { .. }
            | Effect::SocketTimer { .. }
            | Effect::DefragTimer { .. }
            | Effect::NeighTimer { .. } => {
                unreachable!("left to the world")
            }
        }
    }
    has_answered
}
