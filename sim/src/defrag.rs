//! IP reassembly (net/ipv4/ip_fragment.c, net/ipv4/inet_fragment.c).
//!
//! Not modelled: the memory limit of a netns (`ipfrag_high_thresh`, 4 MiB).

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
use std::net::IpAddr;

/// Where reassembly happens (`enum ip_defrag_users`, include/net/ip.h). Each user has its own queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DefragUser {
    /// Local delivery.
    LocalDeliver,
    /// Conntrack, at PREROUTING.
    ConntrackIn,
    /// Conntrack, at OUTPUT.
    ConntrackOut,
    /// Conntrack, at PREROUTING on a bridge.
    ConntrackBridgeIn,
    /// IPVS, at OUTPUT.
    IpvsOut,
    /// IPVS, at FORWARD.
    IpvsForward,
}

impl DefragUser {
    /// True if only the destination host reports a reassembly timeout (`frag_expire_skip_icmp`).
    pub const fn is_on_the_way(self) -> bool {
        match self {
            Self::ConntrackIn | Self::ConntrackBridgeIn => true,
            Self::LocalDeliver | Self::ConntrackOut | Self::IpvsOut | Self::IpvsForward => false,
        }
    }
}

/// The fields that identify fragments of the same datagram (`struct frag_v4_compare_key` and
/// `struct frag_v6_compare_key`, include/net/inet_frag.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    user: DefragUser,
    src: IpAddr,
    dst: IpAddr,
    ident: u32,
    protocol: u8,
}

/// Fragments whose reassembly timed out.
#[derive(Debug)]
pub struct Expired {
    /// The user of the queue.
    pub user: DefragUser,
    /// True if the first fragment of the datagram is among them; it is the first element then.
    pub has_first: bool,
    /// The ingress device of the last fragment; `None` if this netns sent it.
    pub in_dev: Option<DeviceId>,
    /// The fragments.
    pub parts: Vec<Packet>,
}

/// The reassembly queues of a netns (`struct fqdir`).
#[derive(Clone, Debug, Default)]
pub struct Defrag {
    queues: BTreeMap<Key, Queue>,
    /// Number of fragments from each sender (`inet_peer.rid`).
    arrivals: BTreeMap<IpAddr, u32>,
}

impl Defrag {
    /// Queues a fragment, or returns the complete packet if it was the last one missing (`ip_defrag`). The packet
    /// continues the last fragment, with headers and metadata of the first. Fragments to be freed are left to the stack
    /// ([`Effect::End`]): those received on the loopback device hold a conntrack entry.
    pub fn ip_defrag(
        &mut self,
        cx: &mut Context,
        sysctls: &Sysctls,
        user: DefragUser,
        packet: Packet,
    ) -> Option<Packet> {
        let ip = packet.ipv4();
        let key = Key {
            user,
            src: ip.src().into(),
            dst: ip.dst().into(),
            ident: ip.ident().into(),
            protocol: ip.protocol(),
        };
        let deadline = cx.now + Duration::from_secs(u64::from(sysctls.value(Setting::IpfragTime)));
        let distance_max = sysctls.value(Setting::IpfragMaxDist);
        let mut is_fresh = false;
        let queue = self.queues.entry(key).or_insert_with(|| {
            is_fresh = true;
            Queue::new(deadline, distance_max > 0)
        });
        // Linux: ip_frag_too_far and ip_frag_reinit. IP IDs are reused.
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

    /// Removes queues that have timed out (`ip_expire`).
    pub fn expire(&mut self, due: Instant) -> Vec<Expired> {
        let late: Vec<Key> =
            self.queues.iter().filter(|(_, queue)| queue.deadline <= due).map(|(key, _)| *key).collect();
        let take = |key: Key| {
            let queue = self.queues.remove(&key)?;
            let (has_first, in_dev) = (queue.has_first(), queue.in_dev);
            Some(Expired { user: key.user, has_first, in_dev, parts: queue.into_parts() })
        };
        let expired = late.into_iter().filter_map(take).collect();
        // Distances are between fragments of one queue; without a queue, counting may restart.
        let senders: BTreeSet<IpAddr> = self.queues.keys().map(|key| key.src).collect();
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

/// A fragment and the position of its payload, in bytes.
#[derive(Clone, Debug)]
struct Part {
    offset: u32,
    end: u32,
    packet: QueuedPacket,
}

#[cfg(test)]
mod tests;
