//! Selection of source ports.

use super::table::{Socket, Table};
use super::tcp::FourTuple;
use super::{ConnectError, Endpoint, SocketIo};
use crate::draws::Purpose;
use crate::ids::SocketId;
use crate::time::Duration;
use std::net::IpAddr;

impl Table {
    /// The source port of a TCP client, and the TIME_WAIT socket that it replaces, if any.
    ///
    /// Linux: `__inet_hash_connect`, `__inet_check_established`, net/ipv4/inet_hashtables.c. Ports with the parity of
    /// the range's first port are tried before the others, from a random offset on. A port can be shared by connections
    /// to different destinations, but not with a socket bound to it.
    pub(super) fn tcp_source_port(
        &mut self,
        io: &mut SocketIo<'_, '_>,
        src: IpAddr,
        wanted: Option<u16>,
        remote: Endpoint,
    ) -> Result<(u16, Option<SocketId>), ConnectError> {
        if let Some(port) = wanted {
            // The client sets SO_REUSEADDR, so only a listener conflicts, not connections.
            if self.tcp_listeners_on(port).any(|addr| addr.is_none_or(|addr| addr == src)) {
                return Err(ConnectError::AddressInUse);
            }
            let tuple = FourTuple { local: (src, port), remote };
            return self.tuple_is_free(io, tuple, true).map(|reused| (port, reused));
        }
        let (low, high) = io.settings.ephemeral_ports;
        let count = u32::from(high) - u32::from(low) + 1;
        // An even number of ports, so that parity is kept when wrapping.
        let count = if count > 1 { count & !1 } else { count };
        let offset = io.cx.draws.below(io.cx.netns, Purpose::EphemeralPort, count) & !1;
        let mut probes = 0;
        for parity in 0..count.min(2) {
            let first = u32::from(low) + offset + parity;
            let ranges = [(first, u32::from(low) + count), (u32::from(low) + parity, first)];
            for (first, end) in ranges {
                let mut from = first;
                while let Some(port) = self.busy_ports.next_free(src, remote, from, end) {
                    from = u32::from(port) + 2;
                    if self.tcp_bound.contains_key(&port) || self.tcp_listeners_on(port).next().is_some() {
                        continue;
                    }
                    let tuple = FourTuple { local: (src, port), remote };
                    match self.tuple_is_free(io, tuple, false) {
                        Ok(reused) => return Ok((port, reused)),
                        // A port in TIME_WAIT that may be reused soon must be checked again.
                        Err(_) if io.settings.tcp_tw_reuse == 1 || is_loopback(tuple) => {}
                        Err(_) => {
                            probes += 1;
                            self.busy_ports.note(tuple, probes);
                        }
                    }
                }
            }
        }
        Err(ConnectError::AddressNotAvailable)
    }

    /// True if no connection has the tuple; returns the TIME_WAIT socket that may be replaced, if its timestamps
    /// distinguish old segments from new ones. For a port chosen by the user no more is required (`tcp_twsk_unique`,
    /// without `twp`).
    fn tuple_is_free(
        &self,
        io: &SocketIo<'_, '_>,
        tuple: FourTuple,
        is_chosen: bool,
    ) -> Result<Option<SocketId>, ConnectError> {
        let Some(id) = self.tcp_established(tuple) else { return Ok(None) };
        let Some(Socket::TimeWait(time_wait)) = self.get(id) else {
            return Err(ConnectError::AddressNotAvailable);
        };
        let Some((_, last)) = time_wait.ts_recent else { return Err(ConnectError::AddressNotAvailable) };
        let may_reuse = match io.settings.tcp_tw_reuse {
            0 => false,
            1 => true,
            _ => is_loopback(tuple),
        };
        let is_past = time_wait.is_finished() && io.cx.now - last > Duration::from_secs(1);
        if is_chosen || (may_reuse && is_past) {
            Ok(Some(id))
        } else {
            Err(ConnectError::AddressNotAvailable)
        }
    }

    /// The source port of a UDP client. An ephemeral port must not be used by any other UDP socket, whatever its
    /// address.
    ///
    /// Linux: `udp_lib_get_port`, net/ipv4/udp.c. Deviation: if the drawn port is in use, the next one is tried, not
    /// one at a random stride.
    pub(super) fn udp_source_port(
        &self,
        io: &mut SocketIo<'_, '_>,
        src: IpAddr,
        wanted: Option<u16>,
    ) -> Result<u16, ConnectError> {
        if let Some(port) = wanted {
            let is_taken = self.udp_on(port).any(|held| held.addr.is_none_or(|addr| addr == src));
            return if is_taken { Err(ConnectError::AddressInUse) } else { Ok(port) };
        }
        let (low, high) = io.settings.ephemeral_ports;
        let count = u32::from(high) - u32::from(low) + 1;
        let first = io.cx.draws.below(io.cx.netns, Purpose::EphemeralPort, count);
        (0..count)
            .map(|step| low + u16::try_from((first + step) % count).expect("below the number of ports"))
            .find(|port| self.udp_on(*port).next().is_none())
            .ok_or(ConnectError::AddressNotAvailable)
    }

    /// The identifier of an echo client; not zero (`ping_get_port`, net/ipv4/ping.c).
    ///
    /// Deviation: Linux counts identifiers globally; here the first is drawn.
    pub(super) fn ping_ident(
        &self,
        io: &mut SocketIo<'_, '_>,
        wanted: Option<u16>,
    ) -> Result<u16, ConnectError> {
        if let Some(ident) = wanted {
            return if self.ping.contains_key(&ident) { Err(ConnectError::AddressInUse) } else { Ok(ident) };
        }
        let count = u32::from(u16::MAX);
        let first = io.cx.draws.below(io.cx.netns, Purpose::EphemeralPort, count);
        (0..count)
            .map(|step| 1 + u16::try_from((first + step) % count).expect("below 65,535"))
            .find(|ident| !self.ping.contains_key(ident))
            .ok_or(ConnectError::AddressNotAvailable)
    }
}

const fn is_loopback(tuple: FourTuple) -> bool {
    tuple.local.0.is_loopback() || tuple.remote.0.is_loopback()
}
