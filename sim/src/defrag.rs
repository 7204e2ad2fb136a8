//! Fragments that wait for each other (net/ipv4/ip_fragment.c, net/ipv4/inet_fragment.c).
//!
//! Left out: the memory limit of a netns (`ipfrag_high_thresh`, 4 MiB).

mod queue;

use crate::context::{Context, Effect};
use crate::drop_reason::DropReason;
use crate::ids::DeviceId;
use crate::packet::{Packet, QueuedPacket};
use crate::sysctl::{Setting, Sysctls};
use crate::time::{Duration, Instant};
use crate::trace::Terminal;
use queue::{Placement, Queue};
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

/// For whom fragments are put together (`enum ip_defrag_users`, include/net/ip.h). Each has queues of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DefragUser {
    /// The netns is the addressee.
    LocalDeliver,
    /// Conntrack, at PREROUTING.
    ConntrackIn,
    /// Conntrack, at OUTPUT.
    ConntrackOut,
    /// Conntrack, at PREROUTING on a bridge.
    ConntrackBridgeIn,
}

impl DefragUser {
    /// Whether fragments that never become whole are reported by the addressee alone (`frag_expire_skip_icmp`).
    pub const fn is_on_the_way(self) -> bool {
        match self {
            Self::ConntrackIn | Self::ConntrackBridgeIn => true,
            Self::LocalDeliver | Self::ConntrackOut => false,
        }
    }
}

/// Which fragments belong together (`struct frag_v4_compare_key`, include/net/inet_frag.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    user: DefragUser,
    src: Ipv4Addr,
    dst: Ipv4Addr,
    ident: u16,
    protocol: u8,
}

/// Fragments whose time is over.
#[derive(Debug)]
pub struct Expired {
    /// For whom they were kept.
    pub user: DefragUser,
    /// Whether the first one of the datagram is among them; then it comes first.
    pub has_first: bool,
    /// The device by which the last one came; none if this netns made them.
    pub in_dev: Option<DeviceId>,
    /// The fragments.
    pub parts: Vec<Packet>,
}

/// The queues of a netns (`struct fqdir`).
#[derive(Clone, Debug, Default)]
pub struct Defrag {
    queues: BTreeMap<Key, Queue>,
    /// Fragments that each sender of a queue has sent (`inet_peer.rid`).
    arrivals: BTreeMap<Ipv4Addr, u32>,
}

impl Defrag {
    /// Keeps a fragment, or gives the whole packet if it was the last that was missing (`ip_defrag`). The packet continues
    /// the fragment that came last, with the headers and the metadata of the first. Fragments that end are left to the stack
    /// ([`Effect::End`]): those that came by the loopback hold a conntrack entry.
    pub fn ip_defrag(
        &mut self,
        cx: &mut Context,
        sysctls: &Sysctls,
        user: DefragUser,
        packet: Packet,
    ) -> Option<Packet> {
        let ip = packet.ipv4();
        let key = Key { user, src: ip.src(), dst: ip.dst(), ident: ip.ident(), protocol: ip.protocol() };
        let deadline = cx.now + Duration::from_secs(u64::from(sysctls.value(Setting::IpfragTime)));
        let distance_max = sysctls.value(Setting::IpfragMaxDist);
        let mut is_fresh = false;
        let queue = self.queues.entry(key).or_insert_with(|| {
            is_fresh = true;
            Queue::new(deadline, distance_max > 0)
        });
        // Linux: ip_frag_too_far and ip_frag_reinit. Identifications come round again.
        if distance_max > 0 && queue.counts_arrivals() {
            let arrivals = self.arrivals.entry(key.src).or_default();
            *arrivals = arrivals.wrapping_add(1);
            if queue.arrival(*arrivals) > distance_max && !queue.is_empty() {
                end_all(cx, queue.restart(deadline), DropReason::FragmentTooFar);
                is_fresh = true;
            }
        }
        if is_fresh {
            cx.effects.push(Effect::DefragTimer { at: deadline });
        }
        match queue.place(&packet) {
            Placement::Wrong => {
                let queue = self.queues.remove(&key)?;
                end_all(cx, queue.into_parts(), DropReason::FragmentWrong);
                end(cx, packet, Terminal::Dropped(DropReason::FragmentWrong));
                None
            }
            Placement::Known => {
                end(cx, packet, Terminal::Dropped(DropReason::FragmentKnown));
                None
            }
            Placement::At { offset, end } => {
                queue.insert(offset, end, packet);
                if !queue.is_whole() {
                    return None;
                }
                self.queues.remove(&key)?.ip_frag_reasm(cx)
            }
        }
    }

    /// Takes out what had waited too long by then (`ip_expire`).
    pub fn expire(&mut self, due: Instant) -> Vec<Expired> {
        let late: Vec<Key> =
            self.queues.iter().filter(|(_, queue)| queue.deadline <= due).map(|(key, _)| *key).collect();
        let take = |key: Key| {
            let queue = self.queues.remove(&key)?;
            let (has_first, in_dev) = (queue.has_first(), queue.in_dev);
            Some(Expired { user: key.user, has_first, in_dev, parts: queue.into_parts() })
        };
        let expired = late.into_iter().filter_map(take).collect();
        // Distances are between fragments of one queue, so that where there is none, counting may begin anew.
        let senders: BTreeSet<Ipv4Addr> = self.queues.keys().map(|key| key.src).collect();
        self.arrivals.retain(|sender, _| senders.contains(sender));
        expired
    }
}

fn end_all(cx: &mut Context, parts: Vec<Packet>, reason: DropReason) {
    for part in parts {
        end(cx, part, Terminal::Dropped(reason));
    }
}

fn end(cx: &mut Context, part: Packet, terminal: Terminal) {
    cx.effects.push(Effect::End { packet: QueuedPacket(part), terminal });
}

/// A fragment and where its payload belongs, in bytes.
#[derive(Clone, Debug)]
struct Part {
    offset: u32,
    end: u32,
    packet: QueuedPacket,
}

#[cfg(test)]
mod tests;
