//! Protection against floods: `drop_packet` and `drop_entry`.
//!
//! Values 1 and 2 act only if memory is scarce (`update_defense_level`, net/netfilter/ipvs/ip_vs_ctl.c), which is not
//! simulated. Deviation: a changed value acts at once, not with the next check, which the kernel makes every second.

use super::Ipvs;
use super::clock::Clock;
use super::connection::{Connection, ConnectionId};
use super::segment::fold;
use super::settings::ALWAYS;
use super::state::{SctpState, State, TcpState};
use crate::draws::{Draws, Purpose};
use crate::ids::NetnsId;
use crate::time::{Duration, Instant};

/// Interval of `drop_entry` (`DEFENSE_TIMER_PERIOD`, net/netfilter/ipvs/ip_vs_ctl.c).
const PERIOD: Duration = Duration::from_secs(1);
/// Buckets of the connection table, and the part of it that is searched each time (`ip_vs_random_dropentry`,
/// net/netfilter/ipvs/ip_vs_conn.c).
const BUCKET_BITS: u32 = 12;
const SEARCHED: u32 = (1 << BUCKET_BITS) / 32;
/// Connections with more packets of the client are kept, and those younger than this (`todrop_entry`).
const PACKETS_MAX: u32 = 8;
const AGE_MIN: Duration = Duration::from_secs(60);

/// The counters.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Defense {
    /// New connections until the next one is dropped.
    until_drop: i64,
    /// The next search; `None` while `drop_entry` does not act.
    search_at: Option<Instant>,
    /// By number of packets: established connections until the next one is removed.
    until_removal: [i64; PACKETS_MAX as usize + 1],
}

impl Ipvs {
    /// True if a new connection is dropped: the first one, and then one of every `am_droprate`
    /// (`ip_vs_todrop`, include/net/ip_vs.h).
    pub(super) const fn drops_packet(&mut self) -> bool {
        if self.settings.drop_packet != ALWAYS || self.settings.am_droprate == 0 {
            return false;
        }
        self.defense.until_drop -= 1;
        if self.defense.until_drop > 0 {
            return false;
        }
        self.defense.until_drop = self.settings.am_droprate as i64;
        true
    }

    /// Ends everything whose time has come, as [`Ipvs::expire`], and removes what `drop_entry` finds: each second, one of 32
    /// buckets of the table is searched at random. Deviation: the kernel's hash of a connection has a random seed.
    pub fn advance(&mut self, clock: Clock, draws: &mut Draws, netns: NetnsId) {
        if self.settings.drop_entry == ALWAYS {
            let mut at = *self.defense.search_at.get_or_insert(clock.now + PERIOD);
            while at <= clock.now && !self.connections.is_empty() {
                self.expire(clock.at(at));
                self.remove_some(clock.at(at), draws, netns);
                at = at + PERIOD;
            }
            // Without connections, when the next search takes place does not matter.
            self.defense.search_at = Some(if at <= clock.now { clock.now + PERIOD } else { at });
        } else {
            self.defense.search_at = None;
        }
        self.expire(clock);
    }

    /// Linux: ip_vs_random_dropentry, net/netfilter/ipvs/ip_vs_conn.c.
    fn remove_some(&mut self, clock: Clock, draws: &mut Draws, netns: NetnsId) {
        let mut is_searched = vec![false; 1 << BUCKET_BITS];
        for _ in 0..SEARCHED {
            is_searched[draws.below(netns, Purpose::IpvsDropEntry, 1 << BUCKET_BITS) as usize] = true;
        }
        let until_removal = &mut self.defense.until_removal;
        let found: Vec<ConnectionId> = self
            .connections
            .iter()
            .filter(|(_, entry)| is_searched[bucket(entry)] && is_removable(entry, clock, until_removal))
            .map(|(id, _)| id)
            .collect();
        for id in found {
            if self.connections.get(id).is_some() {
                self.delete(clock, id);
            }
        }
    }
}

fn bucket(entry: &Connection) -> usize {
    let client = fold(entry.flow.client.ip()).wrapping_add(u32::from(entry.flow.client.port()));
    (client.wrapping_mul(0x61c8_8647) >> (u32::BITS - BUCKET_BITS)) as usize
}

fn is_removable(entry: &Connection, clock: Clock, until_removal: &mut [i64]) -> bool {
    if entry.controlled > 0 {
        return false;
    }
    match entry.state {
        State::Template { .. } => false,
        State::Tcp(TcpState::SynRecv | TcpState::Synack)
        | State::Sctp(SctpState::Init1 | SctpState::Init) => true,
        State::Tcp(TcpState::Established) | State::Sctp(SctpState::Established) | State::Udp => {
            is_idle(entry, clock, until_removal)
        }
        State::Tcp(_) | State::Sctp(_) => false,
    }
}

/// True for one of as many idle connections as this one received packets (`todrop_entry`).
fn is_idle(entry: &Connection, clock: Clock, until_removal: &mut [i64]) -> bool {
    let packets = entry.in_packets;
    let age = entry.timeout.saturating_sub(entry.timer.left(clock));
    if age < AGE_MIN || packets == 0 || packets > PACKETS_MAX {
        return false;
    }
    let until = &mut until_removal[packets as usize];
    *until -= 1;
    if *until > 0 {
        return false;
    }
    *until = i64::from(packets);
    true
}
