//! Decisions about packets, and what the functions that make them need.

use super::clock::Clock;
use super::connection::{Connection, ConnectionId};
use super::scheduler::Why;
use super::segment::FlowKey;
use super::server::{Forward, ServerId, ServiceKey};
use super::state::State;
use crate::draws::Draws;
use crate::ids::NetnsId;
use std::net::SocketAddr;

/// What the functions of the packet path need.
#[derive(Debug)]
pub(super) struct Path<'a> {
    pub(super) clock: Clock,
    pub(super) draws: &'a mut Draws,
    pub(super) netns: NetnsId,
}

/// Why a packet goes on to the local stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PassReason {
    /// No service has its address, port or mark.
    NoService,
    /// It belongs to no connection and opens none: no SYN, a RST, no INIT.
    OpensNothing,
    /// It replies to a connection from this node.
    LocalReply,
    /// It comes from the data port of FTP.
    FtpData,
    /// The FTP service of this address has no server.
    NoFtpServer,
}

/// Why a packet of a client is not sent to a real server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// It is not for IPVS, and goes on (`NF_ACCEPT`).
    Pass(PassReason),
    /// No server of this service can take the connection: answer with ICMP port unreachable, and drop the packet
    /// (`ip_vs_leave`).
    NoServer(ServiceKey),
    /// Drop it: `drop_packet` protects against floods.
    DropRate,
    /// Drop it: its server was deleted.
    ServerGone,
    /// Drop it: it reopens a connection whose conntrack entry still exists. Both are removed, so that the next attempt
    /// succeeds.
    OldConntrack,
    /// Drop it: an SCTP packet that belongs to no association and opens none (`sctp_conn_schedule`).
    NoAssociation,
}

/// A connection at the time of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forwarding {
    /// The connection. One that exists for one datagram is gone already.
    pub connection: ConnectionId,
    /// Client and virtual address.
    pub flow: FlowKey,
    /// The real server.
    pub server: SocketAddr,
    /// The real server.
    pub server_id: ServerId,
    /// How packets reach it.
    pub forward: Forward,
    /// Its state.
    pub state: State,
    /// Why the server was selected, if the packet opened the connection.
    pub why: Option<Why>,
    /// Its conntrack entry belongs to it.
    pub owns_conntrack: bool,
    /// It exists for one datagram.
    pub is_one_packet: bool,
}

impl Forwarding {
    pub(super) const fn of(id: ConnectionId, entry: &Connection, why: Option<Why>) -> Self {
        Self {
            connection: id,
            flow: entry.flow,
            server: entry.server,
            server_id: entry.server_id,
            forward: entry.forward,
            state: entry.state,
            why,
            owns_conntrack: entry.owns_conntrack,
            is_one_packet: entry.is_one_packet,
        }
    }
}

/// What to do with a packet that may come from a real server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Translate its source to the virtual address.
    Translate(Forwarding),
    /// It belongs to a connection without translation: a server on this node answers from the virtual address itself.
    Follow(Forwarding),
    /// It is not for IPVS.
    Pass,
    /// It comes from a real server and belongs to no connection: answer with ICMP port unreachable, and drop the packet
    /// (`nat_icmp_send`).
    NoConnection,
}
