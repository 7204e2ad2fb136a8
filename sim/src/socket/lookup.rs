//! Lookup of the socket that a packet is for, by matches of rules.

use super::table::Socket;
use super::tcp::FourTuple;
use super::{Endpoint, Sockets, datagram};
use crate::wire::protocol;

/// A socket found by [`Sockets::of_packet`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundSocket {
    /// It is bound to no address, so it receives packets for all.
    pub is_on_all_addresses: bool,
}

impl Sockets {
    /// The socket that a TCP segment or a UDP datagram between these two ends is for: a connection, else a listener.
    ///
    /// Linux: `nf_socket_get_sock_v4`, net/ipv4/netfilter/nf_socket_ipv4.c.
    pub fn of_packet(&self, number: u8, local: Endpoint, remote: Endpoint) -> Option<FoundSocket> {
        let id = match number {
            protocol::TCP => self.table.tcp_lookup(FourTuple { local, remote })?,
            protocol::UDP => datagram::lookup(self, local, remote)?,
            _ => return None,
        };
        let is_on_all_addresses = match self.table.get(id)? {
            Socket::Listener(listener) => listener.addr.is_none(),
            Socket::Udp(socket) => socket.addr.is_none(),
            Socket::Request(_) | Socket::Connection(_) | Socket::TimeWait(_) | Socket::Ping(_) => false,
        };
        Some(FoundSocket { is_on_all_addresses })
    }
}
