//! The connection table.

use super::clock::Clock;
use super::connection::{Connection, ConnectionId};
use super::segment::FlowKey;
use crate::time::{Duration, Instant};
use rustc_hash::FxHashMap;
use slotmap::SlotMap;
use smallvec::SmallVec;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// The entries with one key, the latest first. Two have the same key while a closed connection waits for its end.
type Index = FxHashMap<FlowKey, SmallVec<[ConnectionId; 1]>>;

/// All connections and templates of a netns.
#[derive(Clone, Debug, Default)]
pub struct ConnectionTable {
    entries: SlotMap<ConnectionId, Connection>,
    /// Connections by client and virtual address.
    by_flow: Index,
    /// Connections by client and server.
    by_reply: Index,
    /// Templates by client and virtual address.
    templates: Index,
    /// Expiry of entries, with a number that keeps the order of equal times.
    queue: BinaryHeap<Reverse<(Instant, u64, ConnectionId)>>,
    queued: u64,
}

impl ConnectionTable {
    /// An entry.
    pub fn get(&self, id: ConnectionId) -> Option<&Connection> {
        self.entries.get(id)
    }

    /// The connection of a packet on its way to the server, after its destination was translated.
    pub fn to_server(&self, flow: &FlowKey) -> Option<&Connection> {
        self.find_reply(flow).and_then(|id| self.get(id))
    }

    /// The template from which a connection was made.
    pub fn template_of(&self, connection: &Connection) -> Option<&Connection> {
        connection.template.and_then(|id| self.get(id))
    }

    /// All listed entries: connections and templates.
    pub fn iter(&self) -> impl Iterator<Item = (ConnectionId, &Connection)> {
        self.entries.iter()
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True without entries.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The connection of a packet from its client (`ip_vs_conn_in_get`, net/netfilter/ipvs/ip_vs_conn.c).
    pub(super) fn find(&self, flow: &FlowKey) -> Option<ConnectionId> {
        self.by_flow.get(flow).and_then(|found| found.first().copied())
    }

    /// The connection of a packet to its client (`ip_vs_conn_out_get`, net/netfilter/ipvs/ip_vs_conn.c).
    pub(super) fn find_reply(&self, flow: &FlowKey) -> Option<ConnectionId> {
        self.by_reply.get(flow).and_then(|found| found.first().copied())
    }

    /// The template of a client (`ip_vs_ct_in_get`, net/netfilter/ipvs/ip_vs_conn.c).
    pub(super) fn template(&self, flow: &FlowKey) -> Option<ConnectionId> {
        self.templates.get(flow).and_then(|found| found.first().copied())
    }

    pub(super) fn get_mut(&mut self, id: ConnectionId) -> &mut Connection {
        self.entries.get_mut(id).expect("an entry is removed only when it expires")
    }

    /// Adds an entry (`ip_vs_conn_hash`, net/netfilter/ipvs/ip_vs_conn.c). One for a single packet is not found by others.
    pub(super) fn insert(&mut self, entry: Connection) -> ConnectionId {
        let (flow, reply) = (entry.flow, entry.reply_flow());
        let (is_template, is_one_packet) = (entry.is_template(), entry.is_one_packet);
        let id = self.entries.insert(entry);
        if is_template {
            add(&mut self.templates, flow, id);
        } else if !is_one_packet {
            add(&mut self.by_flow, flow, id);
            add(&mut self.by_reply, reply, id);
        }
        id
    }

    /// Removes an entry (`ip_vs_conn_unlink`, net/netfilter/ipvs/ip_vs_conn.c).
    pub(super) fn remove(&mut self, id: ConnectionId) -> Option<Connection> {
        let entry = self.entries.remove(id)?;
        if entry.is_template() {
            forget(&mut self.templates, &entry.flow, id);
        } else {
            forget(&mut self.by_flow, &entry.flow, id);
            forget(&mut self.by_reply, &entry.reply_flow(), id);
        }
        Some(entry)
    }

    /// Makes a template unusable: it keeps its client, but no service has its ports
    /// (`ip_vs_check_template`, net/netfilter/ipvs/ip_vs_conn.c).
    pub(super) fn invalidate_template(&mut self, id: ConnectionId) {
        let flow = self.get_mut(id).flow;
        forget(&mut self.templates, &flow, id);
        let template = self.get_mut(id);
        template.flow.peer.set_port(u16::MAX);
        template.server.set_port(u16::MAX);
        let flow = template.flow;
        add(&mut self.templates, flow, id);
    }

    /// Restarts the timer of an entry (`ip_vs_conn_put`, net/netfilter/ipvs/ip_vs_conn.c).
    pub(super) fn restart(&mut self, id: ConnectionId, clock: Clock) {
        let wait = self.get_mut(id).timeout;
        self.set_timer(id, clock, wait);
    }

    /// Makes an entry expire with the next tick, unless it is late already (`ip_vs_conn_expire_now`).
    pub(super) fn expire_now(&mut self, id: ConnectionId, clock: Clock) {
        if self.get_mut(id).timer.left(clock) > Duration::ZERO {
            self.set_timer(id, clock, Duration::ZERO);
        }
    }

    /// Sets the timer. An entry that is queued for an earlier time stays so, and is queued again when that is reached.
    fn set_timer(&mut self, id: ConnectionId, clock: Clock, wait: Duration) {
        let timer = &mut self.get_mut(id).timer;
        timer.set(clock, wait);
        let at = timer.expires_at;
        if timer.queued_at.is_none_or(|queued| at < queued) {
            timer.queued_at = Some(at);
            self.enqueue(at, id);
        }
    }

    fn enqueue(&mut self, at: Instant, id: ConnectionId) {
        self.queue.push(Reverse((at, self.queued, id)));
        self.queued += 1;
    }

    /// No entry expires earlier.
    pub(super) fn next_expiry(&self) -> Option<Instant> {
        self.queue.peek().map(|Reverse((at, ..))| *at)
    }

    /// The next entry whose timer expired by `now`, and when.
    pub(super) fn next_expired(&mut self, now: Instant) -> Option<(Instant, ConnectionId)> {
        while let Some(Reverse((at, _, id))) = self.queue.peek().copied()
            && at <= now
        {
            self.queue.pop();
            let Some(entry) = self.entries.get_mut(id) else { continue };
            if entry.timer.queued_at != Some(at) {
                continue;
            }
            entry.timer.queued_at = None;
            let expires_at = entry.timer.expires_at;
            if expires_at <= at {
                return Some((at, id));
            }
            entry.timer.queued_at = Some(expires_at);
            self.enqueue(expires_at, id);
        }
        None
    }
}

fn add(index: &mut Index, flow: FlowKey, id: ConnectionId) {
    index.entry(flow).or_default().insert(0, id);
}

fn forget(index: &mut Index, flow: &FlowKey, id: ConnectionId) {
    if let Some(found) = index.get_mut(flow) {
        found.retain(|other| *other != id);
        if found.is_empty() {
            index.remove(flow);
        }
    }
}
