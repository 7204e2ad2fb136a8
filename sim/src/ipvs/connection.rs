//! Connections and templates.

use super::clock::Clock;
use super::segment::FlowKey;
use super::server::{Forward, ServerId};
use super::state::State;
use crate::time::{Duration, Instant};
use slotmap::new_key_type;
use std::net::SocketAddr;

new_key_type! {
    /// A connection or template.
    pub struct ConnectionId;
}

/// An entry of the connection table (`struct ip_vs_conn`): a connection, or the template of a persistent client.
#[derive(Clone, Debug)]
pub struct Connection {
    /// Protocol, client and virtual address. A template has port 0 for the client.
    pub flow: FlowKey,
    /// Address and port of the real server.
    pub server: SocketAddr,
    /// The real server.
    pub server_id: ServerId,
    /// How packets reach it.
    pub forward: Forward,
    /// The state.
    pub state: State,
    /// The mark of the first packet.
    pub mark: u32,
    /// Its conntrack entry belongs to it (`IP_VS_CONN_F_NFCT`).
    pub owns_conntrack: bool,
    /// It exists for one datagram and is not listed (`IP_VS_CONN_F_ONE_PACKET`).
    pub(super) is_one_packet: bool,
    /// No reply has passed through this netns, and none is expected (`IP_VS_CONN_F_NOOUTPUT`).
    pub(super) has_no_output: bool,
    /// The server counts it as inactive (`IP_VS_CONN_F_INACTIVE`).
    pub(super) is_inactive: bool,
    /// The template from which it was made.
    pub(super) template: Option<ConnectionId>,
    /// Number of connections made from this template (`n_control`).
    pub(super) controlled: u32,
    /// Packets of the client.
    pub(super) in_packets: u32,
    /// Time that it lasts without packets.
    pub(super) timeout: Duration,
    pub(super) timer: Timer,
}

/// The timer of an entry.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timer {
    /// When it was set.
    set_at: Instant,
    /// Time until it is due.
    wait: Duration,
    /// When it expires, which is later than when it is due.
    pub(super) expires_at: Instant,
    /// The earliest expiry of this entry in the queue.
    pub(super) queued_at: Option<Instant>,
}

impl Timer {
    /// A timer that was never set.
    pub(super) const fn new(now: Instant) -> Self {
        Self { set_at: now, wait: Duration::ZERO, expires_at: now, queued_at: None }
    }

    /// Sets it (`mod_timer`).
    pub(super) fn set(&mut self, clock: Clock, wait: Duration) {
        self.set_at = clock.now;
        self.wait = wait;
        self.expires_at = clock.expiry(wait);
    }

    /// The time until it is due; zero if it is late.
    pub(super) fn left(&self, clock: Clock) -> Duration {
        self.wait.saturating_sub(clock.since(self.set_at))
    }
}

impl Connection {
    /// True for templates.
    pub const fn is_template(&self) -> bool {
        matches!(self.state, State::Template { .. })
    }

    /// Seconds until it is due to expire, as listings show them; 0 if the timer is late.
    pub fn seconds_left(&self, clock: Clock) -> u64 {
        self.timer.left(clock).as_secs()
    }

    /// The key under which packets of the server find it. Without translation, a server answers from the virtual address
    /// (`ip_vs_conn_out_get`, net/netfilter/ipvs/ip_vs_conn.c).
    pub(super) const fn reply_flow(&self) -> FlowKey {
        let peer = match self.forward {
            Forward::Masquerade => self.server,
            Forward::Route | Forward::Tunnel => self.flow.peer,
        };
        FlowKey { protocol: self.flow.protocol, client: self.flow.client, peer }
    }
}
